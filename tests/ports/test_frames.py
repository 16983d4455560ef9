"""The framed vector: what goes in comes out, and nothing else ever does."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.adapters import frames
from service.adapters.frames import FrameError, Reason, decode, encode, find_vector

PRINT = "00112233445566778899aabbccddeeff"
VECTOR = np.array([0.5, -1.0, 2.0], dtype=np.float32)
FRAME = encode(VECTOR, namespace="space", fingerprint=PRINT)
SOUND = st.floats(-1000, 1000, width=32)


@given(arrays(np.float32, st.integers(1, 300), elements=SOUND), st.text(max_size=40))
def test_a_vector_comes_back_bit_for_bit(vector: np.ndarray, namespace: str) -> None:
    """Any sound vector and any namespace survive the bytes."""
    vector[0] = 1
    frame = encode(vector, namespace=namespace, fingerprint=PRINT)
    found = find_vector([frame], namespace=namespace, fingerprint=PRINT, dim=vector.size)
    assert found is not None
    assert found.tobytes() == vector.tobytes()


@given(st.binary(max_size=200))
def test_any_bytes_give_a_frame_error_and_nothing_else(data: bytes) -> None:
    """Noise is refused with a reason of the fixed set."""
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert caught.value.reason in Reason.__args__  # type: ignore[attr-defined]


@given(st.integers(0, 8 * len(FRAME) - 1))
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    """No single bit of a frame can change without the frame being refused."""
    damaged = bytearray(FRAME)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameError):
        decode(bytes(damaged))


@given(st.integers(0, len(FRAME) - 1), st.binary(max_size=9))
def test_every_cut_is_noticed(length: int, tail: bytes) -> None:
    """A frame cut short, or with a tail, is refused."""
    with pytest.raises(FrameError):
        decode(FRAME[:length])
    if tail:
        with pytest.raises(FrameError, match="length"):
            decode(FRAME + tail)


@pytest.mark.parametrize(
    ("place", "byte", "reason"),
    [(0, b"X", "magic"), (4, b"\x02", "format"), (5, b"\x02", "dtype"), (6, b"\x04", "length")],
)
def test_another_format_is_named(place: int, byte: bytes, reason: Reason) -> None:
    """Well-formed frames of another kind are refused for what they are, with a right checksum."""
    body = bytearray(FRAME)
    body[place : place + 1] = byte
    header = bytes(body[: frames.HEADER.size])
    payload = bytes(body[frames.OVERHEAD :])
    checksum = struct.pack("<I", zlib.crc32(payload, zlib.crc32(header)))
    with pytest.raises(FrameError) as caught:
        decode(header + checksum + payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((1.0, np.nan), "finite"),
        ((1.0, -np.inf), "finite"),
        ((0.0, -0.0), "norm"),
        ((1e-45, 0.0), "norm"),
        ((9e-4, 0.0), "norm"),
        ((1.1e3, 0.0), "norm"),
        ((3e38, 3e38), "norm"),
    ],
)
def test_numbers_that_nothing_can_be_computed_of_are_refused_both_ways(
    numbers: tuple[float, ...], reason: Reason
) -> None:
    """Neither written, nor believed with a right checksum."""
    bad = np.array(numbers, dtype=np.float32)
    with pytest.raises(FrameError, match=reason):
        encode(bad, namespace="space", fingerprint=PRINT)
    tags = (frames.namespace_tag("space"), frames.fingerprint_tag(PRINT))
    header = frames.HEADER.pack(frames.MAGIC, 1, 1, 2, *tags)
    checksum = struct.pack("<I", zlib.crc32(bad.tobytes(), zlib.crc32(header)))
    with pytest.raises(FrameError, match=reason):
        decode(header + checksum + bad.tobytes())


@pytest.mark.parametrize("shape", [(0,), (2, 2), (70_000,), ()])
def test_only_flat_vectors_of_a_sane_width_are_written(shape: tuple[int, ...]) -> None:
    """Nothing empty, nested or wider than the header can say."""
    with pytest.raises(FrameError, match="dim"):
        encode(np.zeros(shape, dtype=np.float32), namespace="space", fingerprint=PRINT)


@pytest.mark.parametrize("text", ["", "xyz", "00", PRINT + "00"])
def test_only_fingerprints_are_written(text: str) -> None:
    """32 hex digits, or a refusal; asking for another finds nothing."""
    with pytest.raises(FrameError, match="fingerprint"):
        encode(VECTOR, namespace="space", fingerprint=text)
    assert find_vector([FRAME], namespace="space", fingerprint=text, dim=3) is None


def test_frames_of_others_are_passed_over_in_silence() -> None:
    """Another namespace or text is no damage; the right frame behind it is found."""
    told: list[Reason] = []
    others = [
        encode(VECTOR, namespace="space", fingerprint=PRINT[::-1]),
        encode(VECTOR, namespace="elsewhere", fingerprint=PRINT),
    ]
    asked = {"namespace": "space", "fingerprint": PRINT, "dim": 3, "on_rejected": told.append}
    assert find_vector(others, **asked) is None
    assert find_vector([*others, FRAME], **asked) is not None
    assert told == []


def test_damage_is_told_and_passed_over() -> None:
    """Damaged frames and frames of another width are counted, and a sound one behind is found."""
    told: list[Reason] = []
    wide = encode(np.ones(4, dtype=np.float32), namespace="space", fingerprint=PRINT)
    found = find_vector(
        [b"", FRAME[:-1] + b"\xff", wide, FRAME],
        namespace="space",
        fingerprint=PRINT,
        dim=3,
        on_rejected=told.append,
    )
    assert found is not None
    assert told == ["length", "crc", "dim"]
