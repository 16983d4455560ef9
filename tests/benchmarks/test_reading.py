"""The reading benchmark: a log like the real one, and a check that finds wrong answers."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reading
from benchmarks.comparison import BenchmarkError
from benchmarks.mind_large import READ, SHOWN, Tally, write_mind
from contract.mind import read_folder
from training.click_log import read_click_log

COUNT = 3_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tally]:
    """Write a small folder of the kind."""
    folder = tmp_path_factory.mktemp("reading") / "large"
    return folder, write_mind(folder, articles=500, impressions=COUNT, seed=1)


def test_the_folder_is_like_the_real_one(made: tuple[Path, Tally]) -> None:
    """Lengths, ids, a few popular articles, and every oddity that real logs have."""
    folder, _ = made
    read = read_folder(folder)
    shown = [a for i in read.impressions for a in i.candidates]
    assert (len(read.articles), len(read.impressions)) == (500, COUNT)
    assert np.mean([len(i.history) for i in read.impressions]) == pytest.approx(READ, rel=0.1)
    assert len(shown) / COUNT == pytest.approx(SHOWN, rel=0.1)
    assert all(re.fullmatch(r"N[0-9]+", article.id) for article in read.articles)
    assert np.sort(np.unique(shown, return_counts=True)[1])[-5:].sum() > len(shown) / 5
    assert min(read.report.unknown_ids, read.report.missing_abstracts) > 0
    assert min(read.report.impressions_without_clicks, read.report.impressions_without_history) > 0


def test_the_folder_is_the_same_for_the_same_seed(made: tuple[Path, Tally], tmp_path: Path) -> None:
    """Figures of two days are of the same bytes; another seed gives others."""
    folder, tally = made
    again = write_mind(tmp_path / "again", articles=500, impressions=COUNT, seed=1)
    other = write_mind(tmp_path / "other", articles=500, impressions=COUNT, seed=2)
    assert again.as_dict() == tally.as_dict() != other.as_dict()
    for name in reading.FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("at_once", [700, 20_000])
def test_what_is_told_is_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """However many blocks it takes, counts and digests are those of the whole file."""
    monkeypatch.setattr("benchmarks.mind_large.AT_ONCE", at_once)
    tally = write_mind(tmp_path, articles=50, impressions=COUNT, seed=3)
    log, by_rules = read_click_log(tmp_path), read_folder(tmp_path)
    assert reading.same(log, by_rules)
    assert reading.tally(log) == tally.as_dict()
    assert tally.counts == {
        "impressions": COUNT,
        "unknown": by_rules.report.unknown_ids,
        "no_clicks": by_rules.report.impressions_without_clicks,
        "no_history": by_rules.report.impressions_without_history,
    }


def test_right_answers_are_timed(made: tuple[Path, Tally]) -> None:
    """The check says how long the rules took for the slice."""
    folder, tally = made
    assert reading.checked(folder, tally, reading.cut(folder, 100))["slice_by_rules_s"] > 0


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"-0", b"-1"), (b" N", b" X"), (b"\tN", b"\t"), (b"\n", b"\r\n1\t\t\t\t\n")],
)
def test_a_wrong_answer_is_not_timed(
    made: tuple[Path, Tally], tmp_path: Path, before: bytes, after: bytes
) -> None:
    """One click, id, article or impression more or less than was written is found."""
    folder, tally = made
    for name in reading.FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    raw = (tmp_path / "behaviors.tsv").read_bytes()
    (tmp_path / "behaviors.tsv").write_bytes(raw.replace(before, after, 1))
    with pytest.raises(BenchmarkError, match="not what was written"):
        reading.checked(tmp_path, tally, folder)


def test_a_difference_to_the_rules_is_not_timed(
    made: tuple[Path, Tally], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both checks are needed: the writer might be wrong in the same way."""
    monkeypatch.setattr(reading, "same", lambda *_: False)
    with pytest.raises(BenchmarkError, match=r"not what contract\.mind reads"):
        reading.checked(*made, made[0])


def test_each_reader_is_measured_in_a_process_of_its_own(made: tuple[Path, Tally]) -> None:
    """Seconds and peak memory of the child, not of whoever started it."""
    held = np.ones(400 * reading.MIB // 8)
    run = {name: reading.in_a_child(name, made[0]) for name in reading.LEGS}
    assert held.nbytes == 400 * reading.MIB
    assert all(0 < figures["s"] < 60 for figures in run.values())
    assert all(20 < figures["peak_mib"] < 400 for figures in run.values())
    assert reading.summary([run])["ours_to_polars"]["median"] > 0
