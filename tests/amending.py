"""Amend readers' records for tests, and read the sums of clicks."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence

from service.ports import Amend, Amendment, Clicks, Position, Span, Store, Weights

TTL_S = 3_600.0
# Redis ends spans and records by its own clock: these are over long after any test.
SPAN, NEXT_SPAN = Span("86400:619", 4_000_000_000.0), Span("86400:620", 4_100_000_000.0)
SPANS = (SPAN, NEXT_SPAN)
Told = dict[Span, dict[str, float]]


def a_pseudonym(name: object) -> str:
    """Make the pseudonym of a reader of a test, 32 hex digits."""
    return hashlib.sha256(str(name).encode()).hexdigest()[:32]


def amend(
    store: Store, pseudonyms: Sequence[str], change: Amend, *, ttl_s: float = TTL_S
) -> list[Amendment]:
    """Amend readers' records now."""
    now = time.time()
    return store.amend(pseudonyms, change, expires_at=now + ttl_s, now=now)


def keep(
    store: Store,
    pseudonym: str,
    raw: bytes,
    clicks: Weights | None = None,
    *,
    ttl_s: float = TTL_S,
) -> None:
    """Write one reader's record, whatever it was, with the clicks that it counts."""
    made = amend(store, [pseudonym], always({pseudonym: raw}, clicks or {}), ttl_s=ttl_s)
    assert len(made) == 1


def count(store: Store, weights: Mapping[str, float], span: Span = SPAN, by: object = "A") -> None:
    """Count clicks of a reader, whose record it writes as well."""
    keep(store, a_pseudonym(by), b"clicked", {span: weights})


def always(records: Mapping[str, bytes], clicks: Weights) -> Amend:
    """Amend to this, whatever there was."""
    return lambda _: Amendment(records, clicks, {})


def one_more(records: Mapping[str, bytes | None]) -> Amendment:
    """Add one to the number that each record holds, and click N1 once for each."""
    counted = {reader: b"%d" % (int(raw or 0) + 1) for reader, raw in records.items()}
    return Amendment(counted, {SPAN: {"N1": float(len(records))}}, {})


def told(clicks: Clicks) -> Told:
    """Return the sums by span, without the spans that have none."""
    return {span: dict(sums) for span, sums in clicks.sums.items() if sums}


def counted(store: Store, spans: Sequence[Span] = SPANS) -> Told:
    """Return all the sums of some spans."""
    clicks = store.clicks(spans, ())
    assert clicks.is_whole
    return told(clicks)


def merge(known: Told, store: Store, since: Position) -> Position:
    """Take what changed since a mark over into what is known, as a replica does."""
    clicks = store.clicks(SPANS, since)
    if clicks.is_whole:
        known.clear()
    for span, sums in told(clicks).items():
        known.setdefault(span, {}).update(sums)
    return clicks.mark


def records(store: Store) -> dict[str, bytes]:
    """Read all readers' records; none may come twice."""
    batches = [dict(batch) for batch in store.readers()]
    found = {reader: raw for batch in batches for reader, raw in batch.items()}
    assert sum(map(len, batches)) == len(found)
    return found


def amending_until(store: Store, is_so: Callable[[], bool]) -> Callable[[], bool]:
    """Amend some reader and let go, as a busy service does, while something is waited for."""

    def go_on() -> bool:
        keep(store, a_pseudonym("somebody"), b"goes on")
        store.let_go(time.time())
        return is_so()

    return go_on
