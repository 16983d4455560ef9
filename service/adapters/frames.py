"""The framed vector: the bytes in which every store keeps one vector, and what makes them sound.

Little-endian: magic (4), format (1), dtype (1), dim (2), hash of the namespace (8), fingerprint of
the text (16), crc32 of all other bytes (4), then `dim` numbers. A frame says of itself which text
in which vector space it stands for, so a vector is never taken for another's.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.errors import ServiceError

Reason: TypeAlias = Literal[
    "length",
    "magic",
    "format",
    "dtype",
    "dim",
    "crc",
    "finite",
    "norm",
    "fingerprint",
    "article",
    "type",
]
OnRejected: TypeAlias = Callable[[Reason], None]

MAGIC: Final = b"NBVF"
FORMAT: Final = 1
FLOAT32: Final = 1
HEADER: Final = struct.Struct("<4sBBH8s16s")
CRC: Final = struct.Struct("<I")
OVERHEAD: Final = HEADER.size + CRC.size
MAX_DIM: Final = 0xFFFF
# Encoders give unit length, so the largest number of a vector is neither near nothing, of which no
# share of a history can be computed, nor so large that a sum overflows.
LEAST, MOST = 1e-3, 1e3


class FrameError(ServiceError):
    """The bytes are no sound frame, or the vector cannot become one; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"not a sound vector: {reason}")
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame; `vector` is (D,), finite, of some length, and read-only."""

    namespace: bytes
    fingerprint: bytes
    vector: NDArray[np.float32]


def ignore(reason: Reason) -> None:
    """Count nothing: the default where nobody asked to be told of rejected values."""


def encode(vector: NDArray[np.float32], *, namespace: str, fingerprint: str) -> bytes:
    """Frame a vector (D,), 1 <= D < 65,536; raise FrameError when it is not sound."""
    if vector.ndim != 1 or not 0 < vector.size <= MAX_DIM:
        raise FrameError("dim")
    numbers = vector.astype("<f4")
    _require_sound(numbers)
    tags = (namespace_tag(namespace), fingerprint_tag(fingerprint))
    header = HEADER.pack(MAGIC, FORMAT, FLOAT32, vector.size, *tags)
    payload = numbers.tobytes()
    return header + CRC.pack(_crc(header, payload)) + payload


def decode(data: bytes) -> Frame:
    """Read any bytes: a sound frame, or FrameError and nothing else."""
    if len(data) < OVERHEAD:
        raise FrameError("length")
    magic, form, dtype, dim, namespace, fingerprint = HEADER.unpack_from(data)
    payload = data[OVERHEAD:]
    checks: tuple[tuple[Reason, bool], ...] = (
        ("magic", magic == MAGIC),
        ("format", form == FORMAT),
        ("dtype", dtype == FLOAT32),
        ("dim", dim > 0),
        ("length", len(payload) == 4 * dim),
        ("crc", CRC.unpack_from(data, HEADER.size)[0] == _crc(data[: HEADER.size], payload)),
    )
    for reason, is_sound in checks:
        if not is_sound:
            raise FrameError(reason)
    vector = np.frombuffer(payload, dtype="<f4").astype(np.float32, copy=False)
    _require_sound(vector)
    return Frame(namespace, fingerprint, vector)


def find_vector(
    frames: Iterable[bytes],
    *,
    namespace: str,
    fingerprint: str,
    dim: int | None,
    on_rejected: OnRejected = ignore,
) -> NDArray[np.float32] | None:
    """Return the first sound vector of this very text in this namespace, None if there is none.

    Frames of another text or namespace are passed over; damaged ones, and those that are not
    `dim` wide where that is known, are passed over and told to `on_rejected`.
    """
    try:
        wanted = (namespace_tag(namespace), fingerprint_tag(fingerprint))
    except FrameError:
        return None  # an article taken down has no text
    for data in frames:
        try:
            frame = decode(data)
        except FrameError as error:
            on_rejected(error.reason)
            continue
        if (frame.namespace, frame.fingerprint) != wanted:
            continue
        if dim is None or frame.vector.size == dim:
            return frame.vector
        on_rejected("dim")
    return None


@lru_cache(maxsize=64)
def namespace_tag(namespace: str) -> bytes:
    """Return the 8 bytes that stand for a namespace."""
    return hashlib.sha256(namespace.encode()).digest()[:8]


def fingerprint_tag(fingerprint: str) -> bytes:
    """Return a text's fingerprint, 32 hex digits, as 16 bytes; raise FrameError for any other."""
    try:
        tag = bytes.fromhex(fingerprint)
    except ValueError:
        tag = b""
    if len(tag) != 16:
        raise FrameError("fingerprint")
    return tag


def _require_sound(vector: NDArray[np.float32]) -> None:
    if not np.isfinite(vector).all():
        raise FrameError("finite")
    if not LEAST <= np.abs(vector).max() <= MOST:
        raise FrameError("norm")


def _crc(header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header))
