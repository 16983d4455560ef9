"""Readers' records and the clicks counted with them, in this process's memory."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.adapters.marks import mark_of, revision_of
from service.ports import Amend, Amendment, Clicks, Position, Span, Weights

BATCH = 500


class _Kept(NamedTuple):
    raw: bytes
    expires_at: float


class _Sum(NamedTuple):
    weight: float
    revision: int


class MemoryReaders:
    """Not safe by itself: whoever calls holds the store's lock."""

    def __init__(self, birth: str) -> None:
        self._birth = birth
        self._kept: dict[str, _Kept] = {}
        self._sums: dict[Span, dict[str, _Sum]] = {}
        self._revision = 0

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float
    ) -> list[Amendment]:
        """Write what `amend` makes of readers' records, all of them one group."""
        if not pseudonyms:
            return []
        made = amend({pseudonym: self.reader(pseudonym) for pseudonym in pseudonyms})
        for pseudonym, raw in made.records.items():
            self._kept[pseudonym] = _Kept(raw, expires_at)
        self._count(made.clicks)
        return [made]

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        kept = self._kept.get(pseudonym)
        return kept.raw if kept else None

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record; say whether there was one."""
        return self._kept.pop(pseudonym, None) is not None

    def readers(self) -> Iterator[dict[str, bytes]]:
        """Read all records of now by pseudonym, in batches."""
        all_ = [(pseudonym, kept.raw) for pseudonym, kept in self._kept.items()]
        return (dict(all_[start : start + BATCH]) for start in range(0, len(all_), BATCH))

    def clicks(self, spans: Sequence[Span], since: Position) -> Clicks:
        """Return the sums of some spans that changed since a mark."""
        revision = revision_of(since, self._birth, spans)
        last = -1 if revision is None else revision
        sums = {
            span: {i: one.weight for i, one in self._sums[span].items() if one.revision > last}
            for span in spans
            if span in self._sums
        }
        return Clicks(sums, mark_of(self._birth, self._revision, spans), revision is None)

    def let_go(self, now: float) -> None:
        """Remove records and sums whose time is over."""
        self._kept = {i: kept for i, kept in self._kept.items() if kept.expires_at > now}
        self._sums = {span: sums for span, sums in self._sums.items() if span.ends_at > now}

    def _count(self, clicks: Weights) -> None:
        self._revision += 1
        for span, weights in clicks.items():
            sums = self._sums.setdefault(span, {})
            for article_id, weight in weights.items():
                before = sums.get(article_id, _Sum(0.0, 0)).weight
                sums[article_id] = _Sum(before + weight, self._revision)
