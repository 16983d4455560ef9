"""Read data files line by line; what is malformed is named by file, line and column."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError


class MalformedFile(ValueError):
    """A data file is malformed; the message names file, line and column."""

    def __init__(self, path: Path, line: int, column: str, problem: str) -> None:
        super().__init__(f"{path.name}, line {line}, column {column}: {problem}")


def iter_lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a plain or `.gz` file from number 1; blank ones only if asked for."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if blank or raw.rstrip(b"\r\n"):
                    yield number, raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MalformedFile(path, number + 1, "1", f"damaged gzip: {error}") from error


def split_columns(
    path: Path,
    number: int,
    raw: bytes,
    names: tuple[str, ...],
    error: type[MalformedFile] = MalformedFile,
) -> list[str]:
    """Split a line at its tabs into exactly the named columns."""
    try:
        columns = raw.decode("utf-8").rstrip("\r\n").split("\t")
    except UnicodeDecodeError as cause:
        column = raw[: cause.start].count(b"\t")
        raise error(path, number, _name(names, column), "not UTF-8") from cause
    if len(columns) != len(names):
        problem = f"{len(columns)} columns instead of {len(names)}"
        raise error(path, number, _name(names, len(columns) - 1), problem)
    return columns


def decode(path: Path, number: int, raw: bytes) -> str:
    """Read a line without columns of its own; a column is then a place in the line, from 1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedFile(path, number, str(error.start + 1), "not UTF-8") from error


def parse_object(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    """Read a line as one JSON object; a column is then a place in the line, from 1."""
    line = decode(path, number, raw).rstrip("\r\n")
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise MalformedFile(path, number, str(error.colno), f"no JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise MalformedFile(path, number, "1", f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise MalformedFile(path, number, "1", "not a JSON object")
    return found


def text_of(
    path: Path, number: int, record: Mapping[str, object], key: str, *, required: bool = False
) -> str:
    """Return a key's text; null is blank, and so is an absent key unless it is required."""
    if required and key not in record:
        raise MalformedFile(path, number, key, "missing")
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedFile(path, number, key, f"{type(value).__name__} instead of text")
    return value


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the first field that Pydantic refused, and why, without the input."""
    first = error.errors(include_input=False)[0]
    return str(first["loc"][0]), first["msg"]


def place_and_problem(error: ValidationError) -> str:
    """Say where in a JSON text something is wrong, and what, without the text itself."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


@dataclass(slots=True)
class Report:
    """Count what was read, and how often each tolerated oddity was met."""

    SIZES: ClassVar[tuple[str, ...]]  # the counts that are no oddity

    def lines(self) -> list[str]:
        """Return one readable line per oddity that occurred."""
        return readable_counts({n: c for n, c in asdict(self).items() if n not in self.SIZES})


def readable_counts(counts: Mapping[str, int]) -> list[str]:
    """Return one readable line for each oddity that occurred."""
    return [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count]


def _name(names: tuple[str, ...], index: int) -> str:
    return names[min(index, len(names) - 1)]
