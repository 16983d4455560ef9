"""Encode texts with one package, asked line by line; run as a script in that package's environment.

Needs the standard library, NumPy and the one package. Requests and answers are lines of JSON:
`{"encode": FILE, "out": FILE.npy, "repeat": 1, "singly": false}` -> seconds, cpu_seconds, peak_mb;
`{"alone": TEXT, "repeat": 200}` -> p50_ms, p99_ms, peak_mb. The first line answers no request: by
then a vector has been made.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str]], Any]
Spec = dict[str, Any]
ANSWERS = 1
# How many texts a request to a queue holds, where the package has one.
REQUEST = 256
BATCH = 32


def main() -> None:
    """Open the package that `argv[1]` describes and answer until standard input ends."""
    # What a package prints belongs among the errors: the answers keep the pipe for themselves.
    answers = os.dup(ANSWERS)
    os.dup2(2, ANSWERS)
    spec = json.loads(sys.argv[1])
    encode = OPEN[spec["kind"]](spec)
    encode(["ready"])
    answer(answers, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        answer(
            answers, timed_alone(encode, request) if "alone" in request else timed(encode, request)
        )
    # Some packages leave threads behind that never end.
    os._exit(0)


def answer(pipe: int, figures: dict[str, Any]) -> None:
    """Write one line, with the most memory that was ever resident."""
    line = json.dumps({**figures, "peak_mb": peak_mb()}, allow_nan=False) + "\n"
    os.write(pipe, line.encode())


def timed(encode: Encode, request: dict[str, Any]) -> dict[str, float]:
    """Encode a file of texts, all in one call or one call a text."""
    texts = json.loads(Path(request["encode"]).read_text("utf-8"))
    calls = [[text] for text in texts] if request.get("singly") else [texts]
    started, cpu_started = time.perf_counter(), time.process_time()
    for _ in range(request.get("repeat", 1)):
        vectors = [encode(call) for call in calls]
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    if request.get("out"):
        np.save(request["out"], np.concatenate(vectors).astype(np.float32), allow_pickle=False)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def timed_alone(encode: Encode, request: dict[str, Any]) -> dict[str, float]:
    """Encode one text again and again, as a request with one headline is answered."""
    encode([request["alone"]])
    spent = []
    for _ in range(request["repeat"]):
        started = time.perf_counter()
        encode([request["alone"]])
        spent.append(1e3 * (time.perf_counter() - started))
    p50, p99 = np.quantile(spent, (0.5, 0.99))
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def peak_mb() -> float:
    """Return the most memory that was ever resident, in megabytes (10^6 bytes)."""
    status = Path("/proc/self/status").read_text("utf-8")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) * 1024 / 1e6


def open_bundle_encoder(spec: Spec) -> Encode:
    """Open a bundle, its golden answers unasked; only `contract` is imported."""
    from contract.bundle import open_bundle
    from contract.encoder import BundleEncoder

    return BundleEncoder(open_bundle(Path(spec["folder"])), threads=spec["threads"]).vectors


def open_sentence_transformers(spec: Spec) -> Encode:
    """Open a folder as the library's page shows it."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(spec["threads"])
    model = SentenceTransformer(spec["folder"], device="cpu", local_files_only=True)
    return lambda texts: model.encode(
        texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
    )


def open_fastembed(spec: Spec) -> Encode:
    """Open a folder with model.onnx and tokenizer as a custom model; its graph pools."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = f"local/{Path(spec['folder']).name}"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.DISABLED,
        normalization=False,
        sources=ModelSource(hf=name),
        dim=1,  # only ever listed
        model_file="model.onnx",
        output_name="vector",
    )
    model = TextEmbedding(name, threads=spec["threads"], specific_model_path=spec["folder"])
    return lambda texts: np.stack(list(model.embed(texts)))


def open_infinity(spec: Spec) -> Encode:
    """Open a folder of sentence-transformers; its engine batches what waits in its queue."""
    import torch
    from infinity_emb import EngineArgs, SyncEngineArray

    torch.set_num_threads(spec["threads"])
    settings = EngineArgs(
        model_name_or_path=spec["folder"],
        engine="torch",
        device="cpu",
        dtype="float32",
        bettertransformer=False,
        compile=False,
        model_warmup=False,
        batch_size=BATCH,
        trust_remote_code=False,
    )
    engines = SyncEngineArray.from_args([settings])
    name = "/".join(Path(spec["folder"]).parts[-2:])

    def encode(texts: list[str]) -> Any:  # noqa: ANN401 (NumPy as that package has it)
        waiting = [
            engines.embed(model=name, sentences=texts[start : start + REQUEST])
            for start in range(0, len(texts), REQUEST)
        ]
        return np.concatenate([np.stack(one.result()[0]) for one in waiting])

    return encode


OPEN: dict[str, Callable[[Spec], Encode]] = {
    "bundle": open_bundle_encoder,
    "sentence-transformers": open_sentence_transformers,
    "fastembed": open_fastembed,
    "infinity": open_infinity,
}

if __name__ == "__main__":
    main()
