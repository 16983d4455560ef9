"""Pages: signed cursors that any process continues, and the rows that one still stands for.

A token is base64url without padding, all numbers big-endian:

    mac 16 | version u8 | kind u8 | flags u8 | issued u32 | shown u16 | request 8 | at f64 | ids

The mac is HMAC-SHA256 over the rest, cut to 16 bytes. The ids are joined by newlines, and deflated
(flag 1) where the token would be too long otherwise.
"""

import hashlib
import hmac
import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import CursorRefused, NotReady
from service.ports import Clock
from service.snapshot import Snapshot

MAX_CHARS: Final = 8_192
VERSION: Final = 1
DEFLATED: Final = 1
REQUEST_BYTES: Final = 8
MAC_BYTES: Final = 16
HEAD: Final = struct.Struct(f">BBBIH{REQUEST_BYTES}sd")
# Four characters carry three bytes.
IDS_BYTES: Final = MAX_CHARS * 3 // 4 - MAC_BYTES - HEAD.size


class Kind(IntEnum):
    """What a cursor continues; the numbers are part of the format."""

    RECOMMENDATIONS = 1
    SIMILAR = 2
    TRENDING = 3
    LATEST = 4
    SEARCH = 5
    CATALOGUE = 6


class Reason(StrEnum):
    """Why a cursor is refused, in words that repeat nothing of it."""

    MALFORMED = "malformed: this is no cursor of this service"
    FOREIGN = "foreign: the cursor was issued elsewhere or for another request"
    STALE = "stale: the cursor is too old, start again without it"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk through pages stands.

    `request` is the hash of all that may not differ between pages, `at` the first page's clock,
    `shown` the number of articles on the pages so far, `ids` what is left, in order.
    """

    kind: Kind
    request: bytes
    at: float
    shown: int
    ids: tuple[str, ...]


class SharedKey:
    """A key that the store tells; until it was read it is the one `known` from before, or None.

    Reading it blocks and may raise StoreError; what was read is given to `keep`.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        known: bytes | None = None,
        keep: Callable[[bytes], object] | None = None,
    ) -> None:
        self._read = read
        self._key = known
        self._keep = keep

    def load(self) -> None:
        """Ask the store."""
        self._key = self._read()
        if self._keep is not None:
            self._keep(self._key)

    def __call__(self) -> bytes | None:
        """Return the key as it was read last."""
        return self._key


class Pager:
    """Turns positions into tokens and back; `key` gives None until the shared key is known."""

    def __init__(self, key: Callable[[], bytes | None], clock: Clock, *, ttl_s: float) -> None:
        self._key = key
        self._clock = clock
        self._ttl_s = ttl_s

    def issue(self, position: Position) -> str | None:
        """Return the token of a position, None when nothing is left or there is no key yet.

        Of more ids than a token holds the last ones are left out.
        """
        key = self._key()
        if key is None or not position.ids:
            return None
        flags, ids = _packed(position.ids)
        head = HEAD.pack(
            VERSION,
            position.kind,
            flags,
            int(self._clock()),
            position.shown,
            position.request,
            position.at,
        )
        payload = head + ids
        return urlsafe_b64encode(_mac(key, payload) + payload).rstrip(b"=").decode()

    def read(self, token: str, kind: Kind, request: bytes) -> Position:
        """Return the position of a token issued for this very request, or raise CursorRefused."""
        payload = self._authentic(token)
        version, made_for, flags, issued, shown, asked, at = HEAD.unpack_from(payload)
        if (version, made_for, asked) != (VERSION, kind, request):
            raise CursorRefused(Reason.FOREIGN)
        # A token from the future was issued by a process whose clock is ahead.
        if self._clock() - issued > self._ttl_s:
            raise CursorRefused(Reason.STALE)
        text = payload[HEAD.size :]
        ids = zlib.decompress(text) if flags & DEFLATED else text
        return Position(kind, asked, at, shown, tuple(ids.decode().split("\n")))

    def _authentic(self, token: str) -> bytes:
        key, raw = self._key(), _decoded(token)
        if key is None:
            raise NotReady("the key of cursors is not known yet")
        mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(key, payload)):
            raise CursorRefused(Reason.FOREIGN)
        return payload


def request_hash(fields: Mapping[str, object]) -> bytes:
    """Hash what may not differ between the pages of one walk; sets have no order, lists do."""
    text = orjson.dumps(fields, default=_in_order, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).digest()[:REQUEST_BYTES]


def remaining(snapshot: Snapshot, ids: Sequence[str], now: float) -> NDArray[np.intp]:
    """Return the rows of those ids that are known and may be shown now, in the order of the ids."""
    rows = snapshot.rows(ids)
    return rows[snapshot.shown(rows, now)]


def _decoded(token: str) -> bytes:
    try:
        raw = urlsafe_b64decode(token[:MAX_CHARS] + "=" * (-len(token) % 4))
    except ValueError:
        raw = b""
    # Python passes over foreign letters and left-over bits: one position has one token.
    if len(raw) <= MAC_BYTES + HEAD.size or urlsafe_b64encode(raw).decode().rstrip("=") != token:
        raise CursorRefused(Reason.MALFORMED)
    return raw


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")[:MAC_BYTES]


def _packed(ids: Sequence[str]) -> tuple[int, bytes]:
    """Return flags and bytes of as many ids, best first, as a token holds."""
    text = "\n".join(ids).encode()
    if len(text) <= IDS_BYTES:
        return 0, text
    while len(packed := zlib.compress("\n".join(ids).encode(), 1)) > IDS_BYTES:
        ids = ids[: min(len(ids) - 1, len(ids) * IDS_BYTES // len(packed))]
    return DEFLATED, packed


def _in_order(value: object) -> list[object]:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError("only JSON and sets of names are hashed")
