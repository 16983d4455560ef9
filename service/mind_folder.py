"""A MIND folder of what the readers in a store were shown and clicked, for the next training."""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from contract.article import Article
from contract.durable import sync
from contract.mind import write_folder
from service.errors import ServiceError
from service.mind_export import Shown, told
from service.ports import Articles, Readers
from service.readers import Record, RecordDamaged
from service.spool import Spool

PROPENSITIES: Final = "propensities.tsv"
AT_ONCE: Final = 500

# The propensities of an answer's articles, by its name; none where it did not explore.
Propensities: TypeAlias = Callable[[str, Sequence[str]], Mapping[str, float]]


class NothingShown(ServiceError):
    """There are no impressions to export, so no folder either."""


class Source(Articles, Readers, Protocol):
    """What is exported from."""


@dataclass(frozen=True, slots=True)
class Period:
    """Times in epoch seconds: from `since` on, and before `until`."""

    since: float = -inf
    until: float = inf

    def __contains__(self, at: float) -> bool:
        return self.since <= at < self.until


@dataclass(slots=True)
class Exported:
    """How much was exported, and what was met on the way."""

    readers: int = 0
    impressions: int = 0
    clicks: int = 0
    strays: int = 0
    articles: int = 0
    gone: int = 0
    explored: int = 0
    damaged: int = 0

    def line(self) -> str:
        """Tell the counts in one line."""
        return (
            f"{self.impressions:,} impressions of {self.readers:,} readers with {self.clicks:,} "
            f"clicks ({self.strays:,} more on what no impression shows, in histories alone), "
            f"{self.explored:,} with propensities; {self.articles:,} articles "
            f"({self.gone:,} more are gone); {self.damaged:,} damaged records"
        )


def export(
    source: Source, target: Path, period: Period, propensities: Propensities, *, earliest: float
) -> Exported:
    """Write the impressions of a period as a folder, which appears whole or not at all.

    Of what happened before `earliest` nothing counts any more. Raise FileExistsError for a folder
    that has anything in it, NothingShown where there are no impressions, OSError where it cannot
    be written, StoreError where nothing is read.
    """
    # What is there already is kept, also an earlier export: it may be somebody's data set.
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty; name a new folder")
    counts, mentioned = Exported(), set[str]()
    with closing(Spool()) as spool:
        for pseudonym, raw in _records(source):
            shown = _shown(pseudonym, raw, period, earliest, counts)
            spool.add((one, _pairs(one, propensities, counts)) for one in shown)
            for one in shown:
                mentioned.update(one.impression.history, one.impression.candidates)
        if not counts.impressions:
            raise NothingShown(f"no impressions in the period; {counts.damaged:,} damaged records")
        with _appearing_whole(target) as folder:
            write_folder(folder, _articles(source, sorted(mentioned), counts), spool.impressions())
            if counts.explored:
                with (folder / PROPENSITIES).open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines("\t".join(row) + "\n" for row in spool.propensities())
    return counts


def _records(source: Readers) -> Iterator[tuple[str, bytes]]:
    """Yield each reader's record once: one that is written meanwhile may come again."""
    known = set[str]()
    for batch in source.readers():
        for pseudonym, raw in batch.items():
            if pseudonym not in known:
                known.add(pseudonym)
                yield pseudonym, raw


def _shown(
    pseudonym: str, raw: bytes, period: Period, earliest: float, counts: Exported
) -> list[Shown]:
    try:
        found = told(pseudonym, Record.of(raw).since(earliest))
    except RecordDamaged:
        counts.damaged += 1
        return []
    shown = [one for one in found.shown if one.at in period]
    counts.readers += bool(shown)
    counts.impressions += len(shown)
    counts.clicks += sum(sum(one.impression.clicks) for one in shown)
    counts.strays += sum(click.at in period for click in found.strays)
    return shown


def _pairs(one: Shown, propensities: Propensities, counts: Exported) -> str:
    found = propensities(one.request, one.impression.candidates) if one.request else {}
    counts.explored += bool(found)
    return " ".join(f"{i}:{found[i]:.9g}" for i in one.impression.candidates if i in found)


def _articles(source: Articles, ids: Sequence[str], counts: Exported) -> Iterator[Article]:
    for start in range(0, len(ids), AT_ONCE):
        asked = ids[start : start + AT_ONCE]
        # No vectors are wanted, so of no namespace.
        stored = source.fetch(asked, namespace="")
        for article in (stored[i].article for i in asked if i in stored):
            if article is not None:
                counts.articles += 1
                yield article
    counts.gone = len(ids) - counts.articles


@contextmanager
def _appearing_whole(target: Path) -> Iterator[Path]:
    """Give a folder to fill that takes its name at the end; where that fails, nothing is left."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    folder.mkdir()
    try:
        yield folder
        for file in (*folder.iterdir(), folder):
            sync(file)
        # Onto an empty folder, or where there is none.
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync(target.parent)
