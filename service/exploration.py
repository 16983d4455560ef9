"""Exploration: slots drawn at random, each with the probability of its choice, which a token tells.

The token stands behind the request's id and a dot, in base64url without padding. All numbers are
big-endian:

    mac 8 | version u8 | epsilon f32 | slots u8 | for each slot: article 4, open u16

The mac is HMAC-SHA256, cut to 8 bytes, over a word of its own, the request's id and the rest.
`article` is the head of the id's SHA-256; the top bit of `open` says that the best was taken.
"""

import hashlib
import hmac
import struct
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.errors import ServiceError

VERSION: Final = 1
MAC_BYTES: Final = 8
ID_BYTES: Final = 4
HEAD: Final = struct.Struct(">BfB")
SLOT: Final = struct.Struct(f">{ID_BYTES}sH")
BEST: Final = 0x8000
MOST_OPEN: Final = BEST - 1
# Cursors are signed by the same key, and none of them begins with this.
DOMAIN: Final = b"exploration"


class TokenRefused(ServiceError):
    """What follows a request's id was not signed for it by this key."""


class Drawn(NamedTuple):
    """A slot's choice among so many open places, and its probability given the slots before."""

    place: int
    is_best: bool
    among: int
    propensity: float


Draw: TypeAlias = Callable[[int, NDArray[np.intp]], Drawn]


@dataclass(frozen=True, slots=True)
class Exploration:
    """What one request is explored with; `epsilon` is exact in single precision."""

    epsilon: float
    random: np.random.Generator
    key: bytes = field(repr=False)

    def draw(self, best: int, places: NDArray[np.intp]) -> Drawn:
        """Choose with probability epsilon any of the open places alike, else the best of them."""
        place = best
        if self.random.random() < self.epsilon:
            place = int(places[self.random.integers(len(places))])
        is_best, among = place == best, len(places)
        return Drawn(place, is_best, among, _propensity(self.epsilon, is_best, among))

    def told(self, request_id: str, slots: Iterable[tuple[str, Drawn]]) -> str:
        """Return a request's id with the token of its slots, given by article."""
        packed = [SLOT.pack(_hash(i), one.among | BEST * one.is_best) for i, one in slots]
        payload = HEAD.pack(VERSION, self.epsilon, len(packed)) + b"".join(packed)
        signed = _mac(self.key, request_id, payload) + payload
        return f"{request_id}.{urlsafe_b64encode(signed).rstrip(b'=').decode()}"


class Explorer:
    """Explores for requests; `key` gives None until the shared key is known."""

    def __init__(self, key: Callable[[], bytes | None], random: np.random.Generator) -> None:
        self._key = key
        self._random = random

    def of(self, epsilon: float) -> Exploration | None:
        """Return what a request is explored with, None for no share of its slots.

        Without a key nothing is explored: what cannot be told would be of no use.
        """
        if not epsilon or (key := self._key()) is None:
            return None
        # As the token has it: both tell the same propensities.
        exact = float(np.float32(epsilon))
        return Exploration(exact, self._random, key) if exact else None


def propensities(key: bytes, request_id: str) -> dict[bytes, float]:
    """Return the propensities that a request's id tells, by the hash of the article.

    There are none where nothing was explored. Raise TokenRefused for a token that was forged, or
    signed by another key or for another request.
    """
    name, dot, token = request_id.partition(".")
    if not dot:
        return {}
    try:
        raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, name, payload)) or payload[0] != VERSION:
        raise TokenRefused("the propensities were not signed for this request")
    _, epsilon, _ = HEAD.unpack_from(payload)
    return {
        article: _propensity(epsilon, bool(among & BEST), among & MOST_OPEN)
        for article, among in SLOT.iter_unpack(payload[HEAD.size :])
    }


def read(key: bytes, request_id: str, ids: Sequence[str]) -> dict[str, float]:
    """Return the propensities of those articles that a request's id tells; see `propensities`."""
    told = propensities(key, request_id)
    return {i: told[hashed] for i in ids if (hashed := _hash(i)) in told}


def _propensity(epsilon: float, is_best: bool, among: int) -> float:
    return (1 - epsilon) * is_best + epsilon / among


def _hash(article_id: str) -> bytes:
    # Of a million pages of 200 articles five have two that share one.
    return hashlib.sha256(article_id.encode()).digest()[:ID_BYTES]


def _mac(key: bytes, request_id: str, payload: bytes) -> bytes:
    signed = b"\0".join([DOMAIN, request_id.encode(), payload])
    return hmac.digest(key, signed, "sha256")[:MAC_BYTES]
