"""The keys of the Redis store: a data format, so they are written down in this one place.

The 16 shards are fixed; the braces make all keys of a shard one slot of a Redis Cluster.

    nb:{s07}:a:<id>         hash     body, fingerprint (while live), version, first_seen, state
    nb:{s07}:v:<id>         list     framed vectors, newest first, while the article is live
    nb:{s07}:ids            set      the live articles
    nb:{s07}:log            stream   one entry (the id) for each write
    nb:{s07}:n              string   how many entries the log ever had
    nb:{s07}:pop:<token>    hash     log-weights of one import of popularity
    nb:{s07}:u:<pseudonym>  string   a reader's record, until it expires
    nb:{s07}:clicks:<span>  hash     article -> sum of the weights of the clicks counted here
    nb:{s07}:hot            sorted   article -> number of the write that counted a click of it here
                            set      last, of some thousand; "" -> number of the first write
    nb:{s07}:w              string   number of the last write that counted clicks here
    nb:{meta}               hash     schema, dim:<namespace>, activation:<n>, secret:<name>,
                                     popularity:<n> (token and time of an import)

Clicks may be counted in any shard: what an article has is the sum over all.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

Command: TypeAlias = tuple[str | bytes | int | float, ...]

SHARDS: Final = 16
META: Final = "nb:{meta}"
# Vectors kept of one article: of other namespaces, for roll-out and roll-back, and of old texts.
FRAMES_KEPT: Final = 4


def shard_of(name: str) -> int:
    """Return the shard of an article id or of a reader's pseudonym, 0 to 15."""
    return zlib.crc32(name.encode()) % SHARDS


def article_key(article_id: str) -> str:
    """Return the key of an article's fields."""
    return f"{_tag(shard_of(article_id))}:a:{article_id}"


def frames_key(article_id: str) -> str:
    """Return the key of an article's vectors."""
    return f"{_tag(shard_of(article_id))}:v:{article_id}"


def ids_key(shard: int) -> str:
    """Return the key of the set of a shard's live articles."""
    return f"{_tag(shard)}:ids"


def log_key(shard: int) -> str:
    """Return the key of a shard's change log."""
    return f"{_tag(shard)}:log"


def count_key(shard: int) -> str:
    """Return the key that counts a shard's log entries, trimmed ones included."""
    return f"{_tag(shard)}:n"


def popularity_key(shard: int, token: str) -> str:
    """Return the key of a shard's part of one import of popularity."""
    return f"{_tag(shard)}:pop:{token}"


def reader_key(pseudonym: str) -> str:
    """Return the key of a reader's record."""
    return f"{readers_prefix(shard_of(pseudonym))}{pseudonym}"


def readers_prefix(shard: int) -> str:
    """Return what the keys of a shard's readers begin with, before the pseudonym."""
    return f"{_tag(shard)}:u:"


def clicks_key(shard: int, span: str) -> str:
    """Return the key of the clicks that a shard counts in a span of time."""
    return f"{_tag(shard)}:clicks:{span}"


def hot_key(shard: int) -> str:
    """Return the key of the articles whose clicks a shard counted last."""
    return f"{_tag(shard)}:hot"


def write_key(shard: int) -> str:
    """Return the key of the number of the last write of a shard's clicks."""
    return f"{_tag(shard)}:w"


def notifications(shard: int, ids: Iterable[str], log_limit: int) -> list[Command]:
    """List the commands that log a write of each id; they belong into the write's own MULTI."""
    key, bound = log_key(shard), ("MAXLEN", "~", max(1, log_limit // SHARDS))
    entries: list[Command] = [("XADD", key, *bound, "*", "id", i) for i in ids]
    return [*entries, ("INCRBY", count_key(shard), len(entries))]


def by_shard(ids: Iterable[str], size: int) -> Iterator[tuple[int, list[int]]]:
    """Split positions 0, 1, … of ids into groups of one shard, at most `size`, in order."""
    groups: dict[int, list[int]] = {}
    for place, article_id in enumerate(ids):
        groups.setdefault(shard_of(article_id), []).append(place)
    for shard, places in groups.items():
        for start in range(0, len(places), size):
            yield shard, places[start : start + size]


def _tag(shard: int) -> str:
    return f"nb:{{s{shard:02d}}}"
