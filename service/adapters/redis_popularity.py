"""Popularity in Redis: an import is written whole under a token of its own, then claimed."""

import uuid
from collections.abc import Mapping
from itertools import islice

from service.adapters.redis_claims import Claims
from service.adapters.redis_layout import SHARDS, by_shard, popularity_key
from service.adapters.redis_link import RedisLink
from service.ports import PopularityTable

WEIGHTS_PER_COMMAND = 2_000


class RedisPopularity:
    """Readers see one import or another, never parts of two."""

    def __init__(self, *, reads: RedisLink, writes: RedisLink) -> None:
        self._reads, self._writes = reads, writes
        self._claims = Claims("popularity", reads=reads, writes=writes)

    def replace(self, weights: Mapping[str, float], *, at: float) -> int:
        """Replace all log-weights, as of a time; return the new revision."""
        token = uuid.uuid4().hex
        ids = list(weights)
        for shard, places in by_shard(ids, WEIGHTS_PER_COMMAND):
            pairs = [part for i in places for part in (ids[i], repr(float(weights[ids[i]])))]
            self._writes.transaction([("HSET", popularity_key(shard, token), *pairs)])
        while True:
            revision, replaced = self._claims.highest()
            if self._claims.claim(revision + 1, f"{token} {float(at)!r}"):
                self._remove(_token_and_time(replaced)[0])
                return revision + 1

    def table(self, since: int) -> PopularityTable | None:
        """Return the table when its revision is beyond `since`, else None."""
        revision, record = self._claims.highest()
        while revision > since:
            token, at = _token_and_time(record)
            weights = self._weights(token)
            newest, record = self._claims.highest()
            if newest == revision:
                return PopularityTable(revision, weights, at)
            # Another import took this one's place, and its keys, while it was read.
            revision = newest
        return PopularityTable(0, {}) if since < 0 else None

    def _weights(self, token: str) -> dict[str, float]:
        weights: dict[str, float] = {}
        for shard in range(SHARDS):
            (pairs,) = self._reads.pipeline([("HGETALL", popularity_key(shard, token))])
            rows = pairs.items() if isinstance(pairs, dict) else ()
            weights |= {article_id.decode(): float(weight) for article_id, weight in rows}
        return weights

    def _remove(self, token: str) -> None:
        for shard in islice(range(SHARDS), SHARDS if token else 0):
            self._writes.transaction([("UNLINK", popularity_key(shard, token))])


def _token_and_time(record: bytes) -> tuple[str, float]:
    """Read what an import claimed its revision with; earlier builds noted no time."""
    token, _, at = record.decode().partition(" ")
    return token, float(at or 0.0)
