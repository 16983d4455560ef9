"""Saved: what a process goes on from where another one stopped, and the files that hold it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from operator import attrgetter
from sys import intern
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt

from contract.bundle import FileEntry
from service.columns import Columns, Facts
from service.ports import Activation, Position

# To be raised with whatever changes the files, what they may hold, or the words of a text.
FORMAT: Final = 2
CODE_BYTES: Final = np.dtype(np.int32).itemsize
ROWS_AT_ONCE: Final = 4_096
POPULARITY, LENGTHS, CODES = "popularity", "lengths", "codes"
WORDS, FACTS = "words.json", "facts.jsonl"

_values = attrgetter(*(field.name for field in fields(Facts)))
Blocks: TypeAlias = Iterable[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Saved:
    """The articles of a catalogue as of a position in the change log.

    `rows` are those of the columns that count; `revision` is that of the popularity table;
    `lacking` holds the versions of articles that wait for a vector.
    """

    activation: Activation
    position: Position
    revision: int
    lacking: Mapping[str, int]
    columns: Columns
    rows: NDArray[np.intp]  # (N,)
    popularity: NDArray[np.float64]  # of all rows of the columns, at least


class Manifest(BaseModel):
    """What is said of the files beside their names: what they belong to, and their hashes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2]
    generation: int
    model: str
    namespace: str
    dim: NonNegativeInt
    rows: NonNegativeInt
    position: tuple[str, ...]
    revision: NonNegativeInt
    lacking: dict[str, int]
    files: dict[str, FileEntry]

    @classmethod
    def of(cls, saved: Saved, files: Mapping[str, FileEntry]) -> "Manifest":
        """Describe what was written."""
        return cls(
            format=FORMAT,
            **asdict(saved.activation),
            dim=saved.columns.vectors.shape[1],
            rows=len(saved.rows),
            position=saved.position,
            revision=saved.revision,
            lacking=dict(saved.lacking),
            files=dict(files),
        )

    @property
    def activation(self) -> Activation:
        """Return the activation under which the articles were served."""
        return Activation(self.generation, self.model, self.namespace)


class Files(Protocol):
    """Verified files, read once each; whatever is wrong with one is a ValueError or OSError."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        ...

    def fill(self, name: str, array: NDArray[Any]) -> None:
        """Read a file of just its size into an array."""
        ...


def contents(saved: Saved, words: Sequence[str]) -> Iterator[tuple[str, Blocks]]:
    """Give each file's name and bytes, a few at a time; `words` are the lexicon's, by code."""
    columns, rows = saved.columns, saved.rows
    for name, array in {**columns.numbers(), POPULARITY: saved.popularity}.items():
        yield name, _blocks(array, rows)
    terms = [columns.terms[row] for row in rows]
    lengths = np.array([len(one) // CODE_BYTES for one in terms], np.int32)
    codes, used = _renumbered(np.frombuffer(b"".join(terms), np.int32), len(words))
    yield LENGTHS, [as_bytes(lengths)]
    yield CODES, [as_bytes(codes)]
    yield WORDS, [orjson.dumps([words[code] for code in used])]
    yield FACTS, (orjson.dumps(_values(columns.facts[row])) + b"\n" for row in rows)


def restored(manifest: Manifest, files: Files, room: int) -> tuple[Saved, list[str]]:
    """Read what `contents` gave, with room for more rows; return it and its words, by code.

    The vectors are read to where they stay. Raise ValueError where the files do not go together.
    """
    count = manifest.rows
    columns = Columns.empty(count + room, manifest.dim)
    for name, array in columns.numbers().items():
        files.fill(name, array[:count])
    popularity = np.empty(count)
    files.fill(POPULARITY, popularity)
    words = _words(files)
    for facts, terms in zip(_facts(files), _terms(files, count, len(words)), strict=True):
        columns.describe(facts, terms)
    saved = Saved(
        activation=manifest.activation,
        position=manifest.position,
        revision=manifest.revision,
        lacking=manifest.lacking,
        columns=columns,
        rows=np.arange(count),
        popularity=popularity,
    )
    return saved, words


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an array, which they go on being."""
    return array.reshape(-1).view(np.uint8).data


def _blocks(array: NDArray[Any], rows: NDArray[np.intp]) -> Iterator[memoryview]:
    # Of a large matrix no second one is made.
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield as_bytes(array[rows[start : start + ROWS_AT_ONCE]])


def _renumbered(codes: NDArray[np.int32], count: int) -> tuple[NDArray[np.int32], list[int]]:
    """Leave out the codes in no use; return the new codes and the old one of each."""
    is_used = np.zeros(count, bool)
    is_used[codes] = True
    renumbered = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
    return renumbered[codes], np.flatnonzero(is_used).tolist()


def _words(files: Files) -> list[str]:
    words: list[str] = orjson.loads(files.read(WORDS))
    if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise ValueError("the words are no list of words")
    return words


def _facts(files: Files) -> Iterator[Facts]:
    for line in BytesIO(files.read(FACTS)):
        article_id, version, title, topic, subtopic, source, language, url = orjson.loads(line)
        # As `Facts.of` does: of few names each is held once.
        names = intern(topic), intern(subtopic), intern(source), intern(language)
        yield Facts(article_id, version, title, *names, url)


def _terms(files: Files, count: int, vocabulary: int) -> Iterator[bytes]:
    lengths, raw = np.empty(count, np.int32), files.read(CODES)
    files.fill(LENGTHS, lengths)
    codes = np.frombuffer(raw, np.int32)
    is_sound = (lengths >= 0).all() and (codes >= 0).all() and (codes < vocabulary).all()
    if not is_sound or int(lengths.sum()) != len(codes):
        raise ValueError("the words of the rows do not go together")
    ends = np.cumsum(lengths, dtype=np.int64) * CODE_BYTES
    starts = ends - lengths * CODE_BYTES
    return (raw[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
