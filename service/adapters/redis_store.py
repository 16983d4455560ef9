"""The store in Redis 6.2 or later: the shared tier, on one server, behind Sentinel or a Cluster.

Core commands only, no scripts. What must hold together is one MULTI in one slot; readers' records,
which are written upon what was read, are watched meanwhile.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from service.adapters.frames import FrameError, OnRejected, encode, ignore
from service.adapters.records import Raw, Reading
from service.adapters.redis_claims import Claims
from service.adapters.redis_clicks import RedisClicks
from service.adapters.redis_layout import (
    FRAMES_KEPT,
    META,
    SHARDS,
    Command,
    article_key,
    by_shard,
    frames_key,
    ids_key,
    notifications,
    shard_of,
)
from service.adapters.redis_link import RedisLink, Reply, Servers, require
from service.adapters.redis_log import RedisLog
from service.adapters.redis_popularity import RedisPopularity
from service.adapters.redis_readers import RedisReaders
from service.adapters.schema import SCHEMA, require_known
from service.adapters.shared_keys import field_of, new_key, read_key
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
# Articles of one MULTI: enough to spare round trips, few enough not to hold up other clients.
GROUP = 64
LOG_LIMIT = 100_000
FIELDS = ("state", "version", "body", "fingerprint", "first_seen")


class RedisStore:
    """Keeps everything in Redis; a write is as durable, when it returns, as Redis is set up to be.

    `quick` and `patient` connect to the same servers, with a short timeout for what requests wait
    for and with a long one for writes and scans.
    """

    def __init__(
        self,
        *,
        quick: Callable[[], Servers],
        patient: Callable[[], Servers],
        on_rejected: OnRejected = ignore,
        log_limit: int = LOG_LIMIT,
    ) -> None:
        self._quick, self._patient = RedisLink(quick), RedisLink(patient)
        self._on_rejected = on_rejected
        self._log_limit = log_limit
        self._log = RedisLog(self._quick)
        self._popularity = RedisPopularity(reads=self._quick, writes=self._patient)
        self._clicks = RedisClicks(self._quick, on_rejected)
        self._readers = RedisReaders(
            reads=self._quick, writes=self._patient, on_rejected=on_rejected
        )
        self._activations = Claims("activation", reads=self._quick, writes=self._patient)
        self._dims: dict[str, int] = {}
        self._is_known = False

    def publish(
        self, publications: Sequence[Publication], *, namespace: str, now: float
    ) -> list[int]:
        """Write each article with its vector atomically; return its new version, in order."""
        self._check_schema()
        frames = [_frame(p.vector, p.fingerprint, namespace) for p in publications]
        self._claim_dim(namespace, (p.vector for p in publications))
        versions = [0] * len(publications)
        for shard, places in by_shard((p.article.id for p in publications), GROUP):
            writes = [_publishing(publications[i], frames[i], now) for i in places]
            ids = [publications[i].article.id for i in places]
            ends = (("SADD", ids_key(shard), *ids), *notifications(shard, ids, self._log_limit))
            replies = self._patient.transaction([*chain.from_iterable(writes), *ends])
            for i, version in zip(places, replies[:: len(writes[0])], strict=False):
                versions[i] = int(version)
        return versions

    def take_down(self, article_id: str) -> int | None:
        """Remove an article and all its vectors; return the new version, None if unknown."""
        self._check_schema()
        key, shard = article_key(article_id), shard_of(article_id)
        (state,) = self._quick.pipeline([("HGET", key, "state")])
        if state != b"live":
            return None
        replies = self._patient.transaction(
            [
                ("HINCRBY", key, "version", 1),
                ("HSET", key, "state", "down"),
                ("HDEL", key, "body", "fingerprint"),
                ("DEL", frames_key(article_id)),
                ("SREM", ids_key(shard), article_id),
                *notifications(shard, [article_id], self._log_limit),
            ]
        )
        return int(replies[0])

    def fetch(self, ids: Sequence[str], *, namespace: str) -> dict[str, StoredArticle]:
        """Read articles by id, those taken down included; unknown ids are absent."""
        self._check_schema()
        reading = Reading(namespace, self._dim(namespace), self._on_rejected)
        parts = (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
        return dict(chain.from_iterable(self._fetch(self._quick, p, reading) for p in parts))

    def scan(self, *, namespace: str) -> Iterator[list[StoredArticle]]:
        """Read every article that is not taken down, in batches, in no set order."""
        self._check_schema()
        reading = Reading(namespace, self._dim(namespace), self._on_rejected)
        for shard in range(SHARDS):
            (members,) = self._patient.pipeline([("SMEMBERS", ids_key(shard))])
            ids = [member.decode(errors="replace") for member in self._typed(members)]
            for start in range(0, len(ids), BATCH):
                found = self._fetch(self._patient, ids[start : start + BATCH], reading)
                yield [stored for _, stored in found if stored.article is not None]

    def fill(
        self, vectors: Mapping[str, tuple[str, NDArray[np.float32]]], *, namespace: str
    ) -> None:
        """Add vectors where this very text has none: id -> (fingerprint of the text, vector).

        LPUSHX adds only where the list exists, and a take-down removes it: a fill that comes too
        late adds nothing. One that overtakes a new text adds a vector that says it is another's.
        """
        frames = {i: _frame(vector, text, namespace) for i, (text, vector) in vectors.items()}
        there = self.fetch(list(vectors), namespace=namespace).values()
        self._claim_dim(namespace, (vector for _, vector in vectors.values()))
        wanted = [s.id for s in there if s.fingerprint == vectors[s.id][0] and s.vector is None]
        for shard, places in by_shard(wanted, GROUP):
            ids = [wanted[i] for i in places]
            pushes = chain.from_iterable(_pushing("LPUSHX", i, frames[i] or b"") for i in ids)
            self._patient.transaction([*pushes, *notifications(shard, ids, self._log_limit)])

    def position(self) -> Position:
        """Return the end of the log as of now; take it before a scan."""
        self.ping()
        return self._log.position()

    def changes(self, since: Position) -> Changes:
        """Return what was written since, at most a few thousand ids; never blocks for news.

        Where the log does not reach back that far, the position is its end as of now.
        """
        return self._log.changes(since)

    def replace_popularity(self, weights: Mapping[str, float], *, at: float) -> int:
        """Replace all imported log-weights, as of a time; return the new revision."""
        self._check_schema()
        return self._popularity.replace(weights, at=at)

    def popularity(self, since: int) -> PopularityTable | None:
        """Return the table when its revision is beyond `since`, else None; revision 0 is empty."""
        return self._popularity.table(since)

    def clicks(self, spans: Sequence[Span], since: Position) -> Clicks:
        """Return the sums of some spans that changed since a mark; () before the first."""
        return self._clicks.clicks(spans, since)

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float, now: float
    ) -> list[Amendment]:
        """Write what `amend` makes of readers' records, with the clicks that it counts."""
        self._check_schema()
        return self._readers.amend(pseudonyms, amend, expires_at=expires_at, now=now)

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        self._check_schema()
        return self._readers.reader(pseudonym)

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record for good; say whether there was one."""
        self._check_schema()
        return self._readers.forget(pseudonym)

    def readers(self) -> Iterator[Mapping[str, bytes]]:
        """Read all records by pseudonym, in batches, in no set order."""
        self._check_schema()
        return self._readers.readers()

    def let_go(self, now: float) -> None:
        """Return at once: Redis removes by itself what has a time to live."""

    def activate(self, *, model: str, namespace: str) -> Activation:
        """Make a model active; the one already active keeps its generation."""
        self._check_schema()
        while True:
            current = self.active()
            if current is not None and (current.model, current.namespace) == (model, namespace):
                return current
            generation = current.generation + 1 if current else 1
            record = json.dumps({"model": model, "namespace": namespace})
            if self._activations.claim(generation, record):
                return Activation(generation, model, namespace)

    def active(self) -> Activation | None:
        """Return the active record, None before the first activation."""
        generation, record = self._activations.highest()
        return Activation(generation, **json.loads(record)) if generation else None

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes, made by whoever asks first and the same for everybody after."""
        self._check_schema()
        field = field_of(name)
        found = require(self._quick.pipeline([("HGET", META, field)])[0])
        if found is None:
            claim = [("HSETNX", META, field, new_key()), ("HGET", META, field)]
            found = self._patient.transaction(claim)[1]
        return read_key(found.decode(errors="replace"))

    def ping(self) -> None:
        """Return when Redis answers and holds a format that this build reads."""
        self._is_known = False
        self._check_schema()

    def close(self) -> None:
        """Disconnect."""
        self._quick.close()
        self._patient.close()

    def _check_schema(self) -> None:
        if self._is_known:
            return
        found = require(self._quick.pipeline([("HGET", META, "schema")])[0])
        if found is None:
            claim = [("HSETNX", META, "schema", SCHEMA), ("HGET", META, "schema")]
            found = self._patient.transaction(claim)[1]
        require_known(found.decode(errors="replace"))
        self._is_known = True

    def _fetch(
        self, link: RedisLink, ids: Sequence[str], reading: Reading
    ) -> list[tuple[str, StoredArticle]]:
        replies = link.pipeline([command for i in ids for command in _fetching(i)])
        rows = zip(ids, replies[::2], replies[1::2], strict=True)
        read = (self._article(*row, reading) for row in rows)
        return [(stored.id, stored) for stored in read if stored is not None]

    def _article(
        self, article_id: str, fields: Reply, frames: Reply, reading: Reading
    ) -> StoredArticle | None:
        if not any(self._typed(fields)):
            return None
        state, version, body, fingerprint, first_seen = fields
        try:
            raw = Raw(
                article_id,
                int(version),
                (body or b"") if state == b"live" else None,
                (fingerprint or b"").decode(errors="replace"),
                float(first_seen),
                filter(None, self._typed(frames)),
            )
        except (TypeError, ValueError):
            self._on_rejected("article")
            return None
        return reading.article(raw)

    def _typed(self, reply: Reply) -> Iterable[Reply]:
        """Return the elements of a reply, none (and tell) when its key holds a foreign type."""
        if isinstance(reply, list | set):
            return reply
        self._on_rejected("type")
        return ()

    def _dim(self, namespace: str) -> int | None:
        if namespace not in self._dims:
            size = require(self._quick.pipeline([("HGET", META, f"dim:{namespace}")])[0])
            if size is None:
                return None
            self._dims[namespace] = int(size)
        return self._dims[namespace]

    def _claim_dim(self, namespace: str, vectors: Iterable[NDArray[np.float32] | None]) -> None:
        """Hold every vector of a namespace to the width of its first."""
        sizes = {vector.size for vector in vectors if vector is not None}
        for size in sizes - {self._dims.get(namespace)}:
            name = f"dim:{namespace}"
            claim = [("HSETNX", META, name, size), ("HGET", META, name)]
            if int(self._patient.transaction(claim)[1]) != size:
                raise FrameError("dim")


def _frame(vector: NDArray[np.float32] | None, fingerprint: str, namespace: str) -> bytes | None:
    if vector is None:
        return None
    return encode(vector, namespace=namespace, fingerprint=fingerprint)


def _fetching(article_id: str) -> tuple[Command, Command]:
    """List the reads of one article; frames say what they are, so no write between them matters."""
    return ("HMGET", article_key(article_id), *FIELDS), ("LRANGE", frames_key(article_id), 0, -1)


def _publishing(publication: Publication, frame: bytes | None, now: float) -> list[Command]:
    """List the commands of one article; the reply to the first is its new version."""
    article = publication.article
    key = article_key(article.id)
    values = ("body", article.model_dump_json(), "fingerprint", publication.fingerprint)
    return [
        ("HINCRBY", key, "version", 1),
        ("HSETNX", key, "first_seen", repr(now)),
        ("HSET", key, "state", "live", *values),
        # Without a vector an empty entry stands for it: the list is there while the article is.
        ("LREM", frames_key(article.id), 0, frame or b""),
        *_pushing("LPUSH", article.id, frame or b""),
    ]


def _pushing(command: str, article_id: str, frame: bytes) -> list[Command]:
    key = frames_key(article_id)
    return [(command, key, frame), ("LTRIM", key, 0, FRAMES_KEPT - 1)]
