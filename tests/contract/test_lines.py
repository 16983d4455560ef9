"""Lines: blank ones skipped without losing count, compressed ones alike."""

import gzip
from pathlib import Path

import pytest

from contract.lines import (
    MalformedFile,
    decode,
    iter_lines,
    parse_object,
    readable_counts,
    split_columns,
    text_of,
)

FILE = Path("folder") / "file.tsv"


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    """Numbers stay those that an editor shows; blanks and tabs alone are no blank line."""
    path = tmp_path / "a.tsv"
    path.write_bytes(b"one\r\n\n\r\n\t\nfive")
    assert list(iter_lines(path)) == [(1, b"one\r\n"), (4, b"\t\n"), (5, b"five")]
    assert [number for number, _ in iter_lines(path, blank=True)] == [1, 2, 3, 4, 5]


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    """By its suffix."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"one\n\nthree\n"))
    assert list(iter_lines(path)) == [(1, b"one\n"), (3, b"three\n")]


def test_columns_lose_the_line_end_and_nothing_else() -> None:
    """Blanks at either end belong to the text."""
    assert split_columns(FILE, 1, b" a \t\tb\r\n", ("x", "y", "z")) == [" a ", "", "b"]


def test_another_error_can_be_raised() -> None:
    """A reader of one format names its own."""

    class OwnError(MalformedFile):
        pass

    for raw in (b"a", b"a\t\xff"):
        with pytest.raises(OwnError, match=r"^file\.tsv, line 7, column [xy]: "):
            split_columns(FILE, 7, raw, ("x", "y"), OwnError)


def test_a_deep_or_huge_value_is_malformed_not_a_crash() -> None:
    """Neither recursion nor digits without end stop the reader in another way."""
    for raw in (b"[" * 100_000, b"9" * 5_000):
        with pytest.raises(MalformedFile, match=r"^file\.tsv, line 3, column 1: no"):
            parse_object(FILE, 3, raw)


def test_bytes_that_are_no_text_are_named_by_their_place() -> None:
    """In a line without columns, the first wrong byte is one."""
    assert decode(FILE, 3, "Käse\n".encode()) == "Käse\n"
    with pytest.raises(MalformedFile, match=r"^file\.tsv, line 3, column 2: not UTF-8$"):
        decode(FILE, 3, "Käse".encode("latin-1"))


def test_null_is_blank() -> None:
    """As absent, unless it is required to be there; any other kind is refused."""
    assert text_of(FILE, 1, {"a": None, "b": "x"}, "a") == text_of(FILE, 1, {}, "a") == ""
    assert text_of(FILE, 1, {"a": None}, "a", required=True) == ""
    with pytest.raises(MalformedFile, match="column a: missing"):
        text_of(FILE, 1, {}, "a", required=True)
    with pytest.raises(MalformedFile, match="column a: bool instead of text"):
        text_of(FILE, 1, {"a": True}, "a")


def test_counts_are_told_where_there_are_any() -> None:
    """One line each."""
    assert readable_counts({"blank_topics": 1_200, "empty_texts": 0}) == ["1,200 blank topics"]
