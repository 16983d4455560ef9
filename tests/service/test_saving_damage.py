"""Snapshots that were cut, changed, lost or forged are passed over for an older one."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.saving import KEY, MANIFEST
from tests.service.fakes import (
    ACTIVATION,
    DIM,
)
from tests.service.snapshots import a_keeper, a_state, a_writer, loaded, write

ARRAYS = "vectors logits published embargo expires time_unknown popularity lengths codes"
FILES = [*ARRAYS.split(), "words.json", "facts.jsonl", MANIFEST]


def test_the_files_are_these(folder: Path) -> None:
    """What the tests below damage is all that there is."""
    write(folder, a_state())
    assert sorted(path.name for path in (folder / "1").iterdir()) == sorted(FILES)


def cut(path: Path) -> None:
    """Lose the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def lengthen(path: Path) -> None:
    """Add a byte."""
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    """Leave the name alone."""
    path.write_bytes(b"")


def make_a_folder_of(path: Path) -> None:
    """Put a folder where the file was."""
    path.unlink()
    path.mkdir()


DAMAGES = [cut, flip, lengthen, empty, make_a_folder_of, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_snapshot_is_passed_over(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    """For the one before it; without another there is none; it is said each time."""
    keeper = a_writer(folder)
    keeper.save(a_state(("birth", "1")))
    keeper.save(a_state(("birth", "2")))
    damage(folder / "2" / name)
    with capture_logs() as events:
        assert loaded(folder)[2].position == ("birth", "1")
        damage(folder / "1" / name)
        assert a_keeper(folder).load(room=0) is None
    refused = [event["number"] for event in events if event["event"] == "snapshot_refused"]
    assert refused == [2, 2, 1]


def test_no_bit_of_a_manifest_may_be_another(folder: Path) -> None:
    """A position that is off by one would lose changes for good."""
    write(folder, a_state())
    path = folder / "1" / MANIFEST
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with capture_logs():
            assert a_keeper(folder).load(room=0) is None, place
    path.write_bytes(raw)
    assert a_keeper(folder).load(room=0) is not None


def one_negative(raw: bytes) -> bytes:
    """Give the first row fewer words than none, and the second one the more."""
    lengths = np.frombuffer(raw, np.int32).copy()
    lengths[:2] = -1, lengths[:2].sum() + 1
    return lengths.tobytes()


@pytest.mark.parametrize(
    ("name", "forge"),
    [
        ("facts.jsonl", lambda raw: raw.splitlines(keepends=True)[0]),
        ("facts.jsonl", lambda raw: raw * 9),
        ("facts.jsonl", lambda _: b"[]\n" * 3),
        ("facts.jsonl", lambda raw: raw.replace(b'"sports"', b"17")),
        ("facts.jsonl", lambda raw: b"\xff" + raw),
        ("words.json", lambda _: b"[]"),
        ("words.json", lambda _: b"17"),
        ("codes", lambda raw: raw[:-4]),
        ("codes", lambda raw: raw[:-1]),
        ("codes", lambda raw: b"\xff" * len(raw)),
        ("lengths", lambda raw: b"\xff" * len(raw)),
        ("lengths", one_negative),
        ("vectors", lambda raw: raw[:-4]),
        (MANIFEST, lambda raw: raw.replace(b'"rows":3', b'"rows":4')),
        (MANIFEST, lambda raw: raw.replace(b'"rows":3', b'"rows":9000000000000000')),
        (MANIFEST, lambda raw: raw.replace(b'"format":2', b'"format":1')),
        (MANIFEST, lambda raw: raw.replace(b'"revision":0', b'"revision":-1')),
        (MANIFEST, lambda raw: raw.replace(b"vectors", b"victors")),
        (MANIFEST, lambda _: b"[]"),
    ],
)
def test_files_that_do_not_go_together_are_refused(
    folder: Path, name: str, forge: Callable[[bytes], bytes]
) -> None:
    """Also where every hash is right, as another build or a forger would write them."""
    write(folder, a_state())
    path = folder / "1" / name
    before = path.read_bytes()
    sign(path, forge)
    assert path.read_bytes() != before
    assert a_keeper(folder).load(room=0) is None


@pytest.mark.parametrize(
    "other",
    [
        {"activation": replace(ACTIVATION, model="model-2")},
        {"activation": replace(ACTIVATION, namespace="space-2")},
        {"dim": DIM + 1},
    ],
)
def test_a_snapshot_of_another_model_is_refused(folder: Path, other: dict[str, Any]) -> None:
    """Its vectors, or what the user encoder says of them, are others."""
    write(folder, a_state())
    assert a_keeper(folder, **other).load(room=0) is None
    assert a_keeper(folder).load(room=0) is not None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_key_is_none(folder: Path, damage: Callable[[Path], None]) -> None:
    """Cursors signed by it would be refused everywhere else."""
    a_keeper(folder).keep_key(b"a" * 32)
    damage(folder / KEY)
    assert a_keeper(folder).key() is None


def sign(path: Path, forge: Callable[[bytes], bytes]) -> None:
    """Change a file of a snapshot and every hash that tells."""
    manifest = path.parent / MANIFEST
    body = manifest.read_bytes().partition(b"\n")[2]
    if path == manifest:
        body = forge(body)
    else:
        old = path.read_bytes()
        new = forge(old)
        path.write_bytes(new)
        body = body.replace(described(old), described(new))
    manifest.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def described(raw: bytes) -> bytes:
    """Write what a manifest says of a file."""
    return f'"sha256":"{hashlib.sha256(raw).hexdigest()}","size":{len(raw)}'.encode()
