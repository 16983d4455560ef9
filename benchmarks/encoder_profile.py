"""Where the time of a graph goes: by operator, and what tokenising and padding add."""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.comparison import DIGITS
from benchmarks.cpu import pinned
from benchmarks.encoder_texts import draw_batches
from contract.bundle import NEWS_ENCODER, TOKENIZER, Bundle
from contract.encoder import TOKENS_PER_BATCH, by_length
from contract.tokens import TextTokenizer, Tokens

BATCHES = 50
KERNEL = "_kernel_time"


def profile(bundle: Bundle, texts: Sequence[str]) -> dict[str, Any]:
    """Return shares of the graph's time by operator, and what a text costs beside the graph."""
    tokenizer = TextTokenizer(bundle.file(TOKENIZER), bundle.text.max_tokens)
    with pinned(1):
        tokenizer.rows(texts)
        started = time.thread_time_ns()
        rows = [tokenizer.rows([text])[0] for text in texts]
        tokenising_us = (time.thread_time_ns() - started) / len(texts) / 1e3
        batches = draw_batches(rows, tokenizer.pad_id, tokens=TOKENS_PER_BATCH, count=BATCHES)
        shares = operator_shares(bundle.file(NEWS_ENCODER), batches)
    lengths = [len(row) for row in rows]
    return {
        "tokens_per_text": round(fmean(lengths), DIGITS),
        "tokenising_us_per_text": round(tokenising_us, DIGITS),
        "padding_share": round(padding_share(lengths), DIGITS),
        "operators": shares,
    }


def padding_share(lengths: Sequence[int]) -> float:
    """Return the share of token positions that are padding, over all batches of the texts."""
    batches = by_length(lengths, TOKENS_PER_BATCH)
    positions: int = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths) / positions


def operator_shares(graph: bytes, batches: Sequence[Tokens]) -> dict[str, float]:
    """Run batches under ONNX Runtime's profiler: operator -> share of the time, largest first."""
    import onnxruntime as ort

    with TemporaryDirectory() as folder:
        options: Any = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for batch in batches:
            session.run(["vector"], {"ids": batch.ids, "mask": batch.mask})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return shares_of(events)


def shares_of(events: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Sum the nodes' medians by operator, so that one disturbed run moves nothing."""
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"])
    sums: dict[str, float] = defaultdict(float)
    for (operator, _), durations in nodes.items():
        sums[operator] += median(durations)
    total = sum(sums.values())
    ordered = sorted(sums.items(), key=lambda pair: -pair[1])
    return {operator: round(spent / total, DIGITS) for operator, spent in ordered}
