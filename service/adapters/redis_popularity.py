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

    def replace(self, weights: Mapping[str, float]) -> int:
        """Replace all log-weights; return the new revision."""
        token = uuid.uuid4().hex
        ids = list(weights)
        for shard, places in by_shard(ids, WEIGHTS_PER_COMMAND):
            pairs = [part for i in places for part in (ids[i], repr(float(weights[ids[i]])))]
            self._writes.transaction([("HSET", popularity_key(shard, token), *pairs)])
        while True:
            revision, replaced = self._claims.highest()
            if self._claims.claim(revision + 1, token):
                self._remove(replaced.decode())
                return revision + 1

    def table(self, since: int) -> PopularityTable | None:
        """Return the table when its revision is beyond `since`, else None."""
        revision, token = self._claims.highest()
        while revision > since:
            weights = self._weights(token.decode())
            newest, token = self._claims.highest()
            if newest == revision:
                return PopularityTable(revision, weights)
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
