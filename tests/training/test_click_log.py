"""A log as arrays: equal to what the rules read, refused where and as the rules refuse."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.article import Article
from contract.mind import MindError, MindReport, read_folder, write_folder
from tests.builders import an_article, an_impression
from tests.evaluation_data import DATA
from training.click_log import ClickLog, in_order, read_click_log

SAMPLES = Path(__file__).parents[2] / "samples" / "mind"
NEWS = "N1\tsports\tsoccer\tTeam wins\tAn abstract\thttps://example.org/1\t[]\t[]\n"
PLAIN = b"1\tU1\t11/11/2019 1:03:52 PM\tN1 N2\tN3-1 N4-0\n"
KNOWN = ("N1", "N2", "N3", "N4", "a-long-id_of.thirty-two-letters.", "a-long-id")


def content(folder: Path) -> tuple[object, ...]:
    """Return all that a log holds, as the rules read it."""
    read = read_folder(folder)
    numbers = {article.id: number for number, article in enumerate(read.articles)}
    rows = [
        (
            i.id,
            [numbers.get(a, -1) for a in i.history],
            [numbers.get(a, -1) for a in i.candidates],
            list(i.clicks),
        )
        for i in read.impressions
    ]
    return read.articles, rows, read.report


def content_of(log: ClickLog) -> tuple[object, ...]:
    """Return all that a log holds, as lists."""
    parts = (log.impression(i) for i in range(len(log)))
    rows = [(i, *(p.tolist() for p in part)) for i, part in zip(log.ids(), parts, strict=True)]
    return log.articles, rows, log.report


def outcomes(folder: Path, *, block_bytes: int, threads: int = 1) -> tuple[object, object]:
    """Return what the rules and the arrays give: their content, or the error's kind and message."""

    def by_rules() -> object:
        return content(folder)

    def as_arrays() -> object:
        return content_of(read_click_log(folder, block_bytes=block_bytes, threads=threads))

    given_back: list[object] = []
    for read in (by_rules, as_arrays):
        try:
            given_back.append(read())
        except (MindError, OSError) as error:
            given_back.append((type(error), str(error)))
    return given_back[0], given_back[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a few articles, whose `behaviors.tsv` each test overwrites."""
    path = tmp_path_factory.mktemp("mind")
    write_folder(path, [an_article(i) for i in KNOWN], [])
    return path


# What real and broken logs have: pieces that are plain, odd or wrong, in columns and between them.
IDS = st.sampled_from([*KNOWN, "N9", "N", "-", "é", "N1\u00a0N2", "a-long-id_of.thirty-two-lette"])
GAPS = st.sampled_from([" "] * 8 + ["  ", "\u2028", "\x0b", "\x1c", "\r", "\x00", "\x85", "\x01"])
CLICKS = st.sampled_from(["-0"] * 40 + ["-1"] * 20 + ["-2", "", "-", "--1", "-\u0661"])
TIMES = st.sampled_from(
    ["11/11/2019 1:03:52 PM"] * 20
    + ["", "1/2/2019 12:00:00 AM", "01/02/2020 01:00:00 pm", "11/ 1/2019 1:03:52 PM"]
    + ["11/11/2019\u00a01:03:52 PM", "11/11/2019 1/2019 1:03:52 PM", "11/11/2019 PM", "2019-11-11"]
    + ["2/29/2020 1:00:00 AM", "2/29/2019 1:00:00 AM", "13/1/2019 1:00:00 AM", "1/1/2019 13:0:0 AM"]
)
NAMES = st.sampled_from(["1", "42", "", "U 1", "é", "\ufeff1", "x" * 40])
TABS = st.sampled_from(["\t"] * 80 + ["\t\t", " "])
ENDS = st.sampled_from(["\n"] * 8 + ["\r\n", "\r\r\n", "\n\n", "\n\r\n", "\n \n"])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw a line that is mostly as it should be."""
    history = "".join(draw(IDS) + draw(GAPS) for _ in range(draw(st.integers(0, 3))))
    shown = "".join(draw(IDS) + draw(CLICKS) + draw(GAPS) for _ in range(draw(st.integers(0, 3))))
    columns = [draw(NAMES), draw(NAMES), draw(TIMES), history.removesuffix(" "), shown]
    text = "".join(column + draw(TABS) for column in columns[:-1]) + shown.removesuffix(" ")
    raw = (text + draw(ENDS)).encode()
    return raw.replace("é".encode(), b"\xe9") if draw(st.integers(0, 40)) == 0 else raw


@settings(max_examples=400)
@given(
    raw=st.lists(st.just(PLAIN) | lines(), max_size=8).map(b"".join),
    cut=st.sampled_from([0, 0, 0, 1, 2]),
    block_bytes=st.sampled_from([1, 60, 200, 2**20]),
    threads=st.integers(1, 2),
)
def test_any_log_is_read_or_refused_as_by_the_rules(
    folder: Path, raw: bytes, cut: int, block_bytes: int, threads: int
) -> None:
    """Content, counts and errors are those of `read_folder`, wherever the blocks are cut."""
    (folder / "behaviors.tsv").write_bytes(raw[: len(raw) - cut])
    rules, arrays = outcomes(folder, block_bytes=block_bytes, threads=threads)
    assert arrays == rules


@settings(max_examples=200)
@given(raw=st.binary(max_size=60) | st.text("N1-0 \t\n\r/:PM", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_as_by_the_rules(folder: Path, raw: bytes) -> None:
    """No bytes surprise the arrays more than the rules."""
    (folder / "behaviors.tsv").write_bytes(PLAIN + raw)
    rules, arrays = outcomes(folder, block_bytes=2**20)
    assert arrays == rules


FAULTS: dict[str, tuple[bytes, str]] = {
    "too few columns": (b"1\tU1\t\tN1\n", "history: 4 columns"),
    "too many columns": (PLAIN.replace(b"\n", b"\t\n"), "candidates: 6 columns"),
    "no columns": (b"one\n", "impression: 1 columns"),
    "click that is neither": (PLAIN.replace(b"N3-1", b"N3-2"), "candidates: 'N3-2'"),
    "candidate without a click": (PLAIN.replace(b"N4-0", b"N4"), "candidates: 'N4'"),
    "candidate without a dash": (PLAIN.replace(b"N4-0", b"N40"), "candidates: 'N40'"),
    "candidate without an id": (PLAIN.replace(b"N3-1", b"-1"), "candidates: '-1'"),
    "day first": (PLAIN.replace(b"11/11", b"13/11"), "time: '13/11/2019"),
    "no such day": (PLAIN.replace(b"11/11", b"2/30"), "time: '2/30/2019"),
    "24 hours": (PLAIN.replace(b"1:03:52 PM", b"13:03:52"), "time: '11/11/2019 13:03:52'"),
    "not UTF-8": (PLAIN.replace(b"N2", b"N\xff"), "history: not UTF-8"),
    "Latin-1 user": (PLAIN.replace(b"U1", b"Ren\xe9"), "user: not UTF-8"),
    "UTF-16": (PLAIN.decode().encode("utf-16"), "impression: not UTF-8"),
    "no last line end": (b"1\tU1", "user: 2 columns"),
}


@pytest.mark.parametrize("block_bytes", [1, 150, 2**20])
@pytest.mark.parametrize(("raw", "message"), FAULTS.values(), ids=FAULTS)
def test_a_malformed_line_is_named(
    folder: Path, raw: bytes, message: str, block_bytes: int
) -> None:
    """File, line and column as the rules name them; blank lines count as lines."""
    (folder / "behaviors.tsv").write_bytes(PLAIN * 3 + b"\r\n\n" + PLAIN + raw)
    rules, arrays = outcomes(folder, block_bytes=block_bytes)
    assert arrays == rules
    assert str(arrays).startswith(f"(<class 'contract.mind.MindError'>, {rules[1]!r}")  # type: ignore[index]
    assert f"behaviors.tsv, line 7, column {message}" in str(rules[1])  # type: ignore[index]


def test_the_first_of_two_faults_is_named(folder: Path) -> None:
    """Threads do not race to report."""
    bad = PLAIN.replace(b"N3-1", b"N3")
    (folder / "behaviors.tsv").write_bytes(PLAIN * 50 + b"one\n" + PLAIN * 50 + bad)
    rules, arrays = outcomes(folder, block_bytes=100, threads=4)
    assert arrays == rules
    assert "line 51, column impression" in str(arrays)


@pytest.mark.parametrize(
    ("news", "message"),
    [
        (NEWS + NEWS, "line 2, column id: 'N1' occurs twice"),
        (NEWS.replace("\t[]\n", "\n"), "line 1, column title_entities: 7 columns"),
        (NEWS.replace("N1", "N:1", 1), "line 1, column id: "),
    ],
)
def test_malformed_news_is_named(tmp_path: Path, news: str, message: str) -> None:
    """Articles come by the rules themselves, before any impression."""
    (tmp_path / "news.tsv").write_text(news, "utf-8")
    (tmp_path / "behaviors.tsv").write_bytes(b"wrong too")
    with pytest.raises(MindError, match=rf"^news\.tsv, {message}"):
        read_click_log(tmp_path)


@pytest.mark.parametrize("missing", ["news.tsv", "behaviors.tsv"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """The same error as the rules': which file, and that it is not there."""
    write_folder(tmp_path, [an_article()], [an_impression()])
    (tmp_path / missing).unlink()
    rules, arrays = outcomes(tmp_path, block_bytes=100)
    assert arrays == rules
    assert missing in str(arrays)


def test_an_unknown_id_keeps_its_place_and_is_counted(folder: Path) -> None:
    """Nothing is dropped: lengths stay what they are in the file."""
    (folder / "behaviors.tsv").write_bytes(b"7\tU1\t\tN9 N2\tN9-1 N4-0 X-0\n")
    log = read_click_log(folder)
    assert [part.tolist() for part in log.impression(0)] == [
        [-1, 1],
        [-1, 3, -1],
        [True, False, False],
    ]
    assert log.report.unknown_ids == 3


def test_the_arrays_are_flat_and_small(folder: Path) -> None:
    """Four bytes an article, one a click; offsets begin at 0 and end at the length."""
    (folder / "behaviors.tsv").write_bytes(PLAIN * 2 + b"1\tU1\t\t\t\n")
    log = read_click_log(folder)
    assert (log.history.dtype, log.candidates.dtype, log.clicks.dtype) == (np.int32, np.int32, bool)
    assert log.history_offsets.tolist() == [0, 2, 4, 4]
    assert log.candidate_offsets.tolist() == [0, 2, 4, 4]
    assert log.history_offsets.dtype == log.candidate_offsets.dtype == np.int64


@pytest.mark.parametrize("articles", [[], [an_article(abstract="All of it")]])
def test_an_empty_log_has_no_impressions(tmp_path: Path, articles: list[Article]) -> None:
    """Empty files are valid, and so is a catalogue without articles."""
    write_folder(tmp_path, articles, [])
    log = read_click_log(tmp_path)
    assert (len(log), log.articles, list(log.ids())) == (0, articles, [])
    assert log.report == MindReport(articles=len(articles))


def test_impressions_come_back_as_objects(folder: Path) -> None:
    """For what ranks impressions: known ids as they are, unknown ones blank, no reader, no time."""
    (folder / "behaviors.tsv").write_bytes(PLAIN + b"7\tU1\t\tN9 N2\tN3-1 X-0\n")
    expected = an_impression(
        "7", user_id="", history=("", "N2"), candidates=("N3", ""), clicks=(True, False)
    )
    assert read_click_log(folder).impressions([1]) == [expected]


def test_blocks_are_not_read_ahead_of_what_is_taken() -> None:
    """What waits for its turn stays bounded, whatever the size of the file."""
    begun = 0

    def blocks() -> Iterator[bytes]:
        nonlocal begun
        for begun in count(1):
            yield b"%d" % begun

    with ThreadPoolExecutor(2) as pool:
        read = in_order(pool, int, blocks(), ahead=2)
        assert list(islice(read, 10)) == list(range(1, 11))
        assert begun <= 10 + 2


@pytest.mark.parametrize("part", ["train", "dev"])
def test_the_samples_are_read_as_by_the_rules(part: str) -> None:
    """The project's own folders."""
    rules, arrays = outcomes(SAMPLES / part, block_bytes=2**16, threads=2)
    assert arrays == rules


@pytest.mark.data
@pytest.mark.parametrize("part", ["train", "dev"])
def test_real_logs_are_read_as_by_the_rules(part: str) -> None:
    """Real ids, real lengths, title-only articles."""
    rules, arrays = outcomes(DATA / "mind" / part, block_bytes=2**16, threads=2)
    assert arrays == rules
