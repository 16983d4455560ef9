"""The store in this process's memory: for tests and demonstrations, gone with the process."""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.adapters.frames import FrameError, OnRejected, encode, ignore
from service.adapters.memory_readers import MemoryReaders
from service.adapters.records import Raw, Reading
from service.adapters.shared_keys import new_key, read_key
from service.ports import (
    Activation,
    Amend,
    Amendment,
    Changes,
    Clicks,
    PopularityTable,
    Position,
    Publication,
    Span,
    StoredArticle,
)

BATCH = 500
CHANGES_LIMIT = 4_096
LOG_LIMIT = 100_000


@dataclass(slots=True)
class _Row:
    first_seen: float
    version: int = 0
    body: str | None = None
    fingerprint: str = ""
    frames: dict[str, bytes] = field(default_factory=dict)


class MemoryStore:
    """Keeps everything in dictionaries under one lock, by the same rules as the other stores."""

    def __init__(self, *, on_rejected: OnRejected = ignore, log_limit: int = LOG_LIMIT) -> None:
        self._on_rejected = on_rejected
        self._log_limit = log_limit
        self._lock = threading.RLock()
        # Positions of another store object mean nothing to this one.
        self._birth = uuid.uuid4().hex
        self._rows: dict[str, _Row] = {}
        self._dims: dict[str, int] = {}
        self._log: list[str] = []
        self._trimmed = 0
        self._activation: Activation | None = None
        self._popularity = PopularityTable(0, {})
        self._readers = MemoryReaders(self._birth)
        self._secrets: dict[str, str] = {}

    def publish(
        self, publications: Sequence[Publication], *, namespace: str, now: float
    ) -> list[int]:
        """Write each article with its vector atomically; return its new version, in order."""
        with self._lock:
            frames = [self._frame(p.vector, p.fingerprint, namespace) for p in publications]
            return [
                self._publish(publication, frame, namespace=namespace, now=now)
                for publication, frame in zip(publications, frames, strict=True)
            ]

    def take_down(self, article_id: str) -> int | None:
        """Remove an article and all its vectors; return the new version, None if unknown."""
        with self._lock:
            row = self._rows.get(article_id)
            if row is None or row.body is None:
                return None
            row.body, row.fingerprint = None, ""
            row.frames.clear()
            row.version += 1
            self._notify(article_id)
            return row.version

    def fetch(self, ids: Sequence[str], *, namespace: str) -> dict[str, StoredArticle]:
        """Read articles by id, those taken down included; unknown ids are absent."""
        with self._lock:
            reading = Reading(namespace, self._dims.get(namespace), self._on_rejected)
            known = [(i, self._rows[i]) for i in ids if i in self._rows]
            read = (reading.article(_raw(i, row, namespace)) for i, row in known)
            return {stored.id: stored for stored in read if stored is not None}

    def scan(self, *, namespace: str) -> Iterator[list[StoredArticle]]:
        """Read every article that is not taken down, in batches, in no set order."""
        with self._lock:
            ids = [i for i, row in self._rows.items() if row.body is not None]
        for start in range(0, len(ids), BATCH):
            found = self.fetch(ids[start : start + BATCH], namespace=namespace).values()
            yield [stored for stored in found if stored.article is not None]

    def fill(
        self, vectors: Mapping[str, tuple[str, NDArray[np.float32]]], *, namespace: str
    ) -> None:
        """Add vectors where this very text has none: id -> (fingerprint of the text, vector)."""
        with self._lock:
            frames = {i: self._frame(v, f, namespace) for i, (f, v) in vectors.items()}
            there = self.fetch(list(vectors), namespace=namespace)
            for article_id, frame in frames.items():
                stored = there.get(article_id)
                if stored is None or stored.vector is not None or frame is None:
                    continue
                if stored.fingerprint == vectors[article_id][0]:
                    self._rows[article_id].frames[namespace] = frame
                    self._notify(article_id)

    def position(self) -> Position:
        """Return the end of the log as of now; take it before a scan."""
        with self._lock:
            return (self._birth, str(self._trimmed + len(self._log)))

    def changes(self, since: Position) -> Changes:
        """Return what was written since, at most a few thousand ids; never blocks for news."""
        with self._lock:
            start = int(since[1]) - self._trimmed if since[:1] == (self._birth,) else -1
            if start < 0:
                return Changes((), self.position(), is_complete=False)
            ids = tuple(self._log[start : start + CHANGES_LIMIT])
            return Changes(ids, (self._birth, str(int(since[1]) + len(ids))), is_complete=True)

    def replace_popularity(self, weights: Mapping[str, float], *, at: float) -> int:
        """Replace all imported log-weights, as of a time; return the new revision."""
        with self._lock:
            self._popularity = PopularityTable(self._popularity.revision + 1, dict(weights), at)
            return self._popularity.revision

    def popularity(self, since: int) -> PopularityTable | None:
        """Return the table when its revision is beyond `since`, else None."""
        table = self._popularity
        return table if table.revision > since else None

    def clicks(self, spans: Sequence[Span], since: Position) -> Clicks:
        """Return the sums of some spans that changed since a mark; () before the first."""
        with self._lock:
            return self._readers.clicks(spans, since)

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float, now: float
    ) -> list[Amendment]:
        """Write what `amend` makes of readers' records, with the clicks that it counts."""
        with self._lock:
            return self._readers.amend(pseudonyms, amend, expires_at=expires_at)

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        with self._lock:
            return self._readers.reader(pseudonym)

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record for good; say whether there was one."""
        with self._lock:
            return self._readers.forget(pseudonym)

    def readers(self) -> Iterator[Mapping[str, bytes]]:
        """Read all records by pseudonym, in batches, in no set order."""
        with self._lock:
            return self._readers.readers()

    def let_go(self, now: float) -> None:
        """Remove records and sums whose time is over."""
        with self._lock:
            self._readers.let_go(now)

    def activate(self, *, model: str, namespace: str) -> Activation:
        """Make a model active; the one already active keeps its generation."""
        with self._lock:
            current = self._activation
            if current is None or (current.model, current.namespace) != (model, namespace):
                generation = current.generation + 1 if current else 1
                self._activation = current = Activation(generation, model, namespace)
            return current

    def active(self) -> Activation | None:
        """Return the active record, None before the first activation."""
        return self._activation

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes, made by whoever asks first and the same for everybody after."""
        with self._lock:
            return read_key(self._secrets.setdefault(name, new_key()))

    def ping(self) -> None:
        """Return at once: memory always answers."""

    def close(self) -> None:
        """Release nothing: there is nothing but memory."""

    def _frame(
        self, vector: NDArray[np.float32] | None, fingerprint: str, namespace: str
    ) -> bytes | None:
        if vector is None:
            return None
        frame = encode(vector, namespace=namespace, fingerprint=fingerprint)
        if self._dims.setdefault(namespace, vector.size) != vector.size:
            raise FrameError("dim")
        return frame

    def _publish(
        self, publication: Publication, frame: bytes | None, *, namespace: str, now: float
    ) -> int:
        article = publication.article
        row = self._rows.setdefault(article.id, _Row(first_seen=now))
        row.version += 1
        row.body, row.fingerprint = article.model_dump_json(), publication.fingerprint
        if frame is not None:
            row.frames[namespace] = frame
        self._notify(article.id)
        return row.version

    def _notify(self, article_id: str) -> None:
        self._log.append(article_id)
        surplus = len(self._log) - self._log_limit
        if surplus > 0:
            del self._log[:surplus]
            self._trimmed += surplus


def _raw(article_id: str, row: _Row, namespace: str) -> Raw:
    frames = [row.frames[namespace]] if namespace in row.frames else []
    return Raw(article_id, row.version, row.body, row.fingerprint, row.first_seen, frames)
