"""Damage bundles as accidents do, and forge them as whoever can write the directory could."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from contract.bundle import (
    ALL_FILES,
    FILES,
    MANIFEST,
    MANIFEST_HASH,
    NEWS_ENCODER,
    TOKENIZER,
    canonical_json,
    namespace_of,
)
from contract.text import TextSpec

ALL = sorted(ALL_FILES)


def flipped(raw: bytes, random: np.random.Generator) -> bytes:
    """Flip one bit somewhere."""
    damaged = bytearray(raw)
    damaged[random.integers(len(raw))] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def truncated(raw: bytes, random: np.random.Generator) -> bytes:
    """Cut the end off, at least a byte and at most all."""
    return raw[: random.integers(len(raw))]


def sign_manifest(path: Path, raw: bytes) -> None:
    """Put a manifest in place and name it properly."""
    (path / MANIFEST).write_bytes(raw)
    (path / MANIFEST_HASH).write_text(f"{sha256(raw).hexdigest()}\n")


def forge(path: Path, **changes: Any) -> None:
    """Change or, with None, remove fields of the manifest, and sign it again."""
    manifest = {**json.loads((path / MANIFEST).read_bytes()), **changes}
    kept = {key: value for key, value in manifest.items() if value is not None}
    sign_manifest(path, canonical_json(kept))


def replace(path: Path, name: str, raw: bytes) -> None:
    """Put other bytes into a file and sign the bundle again, its namespace included."""
    (path / name).write_bytes(raw)
    if name == MANIFEST:
        sign_manifest(path, raw)
    elif name in FILES:
        _sign(path)


def with_a_batch_mean(graph: bytes) -> bytes:
    """Spoil a news encoder: subtract the mean over the batch from each vector."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    (div,) = [node for node in model.graph.node if "vector" in node.output]
    div.output[0] = "unspoiled"
    model.graph.node.extend([
        helper.make_node("ReduceMean", ["unspoiled"], ["mean_of_all"], axes=[0]),
        helper.make_node("Sub", ["unspoiled", "mean_of_all"], ["vector"]),
    ])  # fmt: skip
    raw: bytes = model.SerializeToString()
    return raw


def blind_to_the_mask(graph: bytes) -> bytes:
    """Spoil a news encoder: let it read padding as if it were tokens."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.input[:] = ["unmasked_too" if name == "mask" else name for name in node.input]
    # The mask may not be left out: it is an input that the bundle's graph must have.
    seen = helper.make_node("Greater", ["mask", "below"], ["all"])
    ones = helper.make_node("Cast", ["all"], ["unmasked_too"], to=onnx.TensorProto.INT64)
    below = onnx.numpy_helper.from_array(np.array(-1, dtype=np.int64), "below")
    model.graph.initializer.append(below)
    model.graph.node.insert(0, ones)
    model.graph.node.insert(0, seen)
    raw: bytes = model.SerializeToString()
    return raw


def _sign(path: Path) -> None:
    files = {name: (path / name).read_bytes() for name in FILES}
    text = TextSpec.model_validate(json.loads((path / MANIFEST).read_bytes())["text"])
    forge(
        path,
        files={n: {"sha256": sha256(r).hexdigest(), "size": len(r)} for n, r in files.items()},
        namespace=namespace_of(files[NEWS_ENCODER], files[TOKENIZER], text),
    )
