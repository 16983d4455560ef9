"""Run a bundle's graphs on ONNX Runtime, which is imported only when an encoder is built."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from contract.bundle import CLICK_MODEL, NEWS_ENCODER, TOKENIZER, USER_ENCODER, Bundle
from contract.bundle_errors import GraphFailed, GraphMalformed, refusing
from contract.scoring import ClickModel
from contract.tokens import TextTokenizer, pad

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Positions: TypeAlias = NDArray[np.intp]

# One batch holds at most so many token positions: a few texts, whose activations stay in cache.
TOKENS_PER_BATCH = 256
# A call of 1,024 texts or more is cut into at least so many chunks, so that up to four threads end
# at nearly the same time. Smaller chunks need more padding, larger ones more memory.
CHUNKS = 16
TEXTS_PER_CHUNK = (64, 256)

# Articles of one look at the user encoder.
LOGITS_PER_BATCH = 512
# Single precision tells a share from 1 by this much, and a share from 0 by that.
LEAST_SHARE, LEAST_REST = 1e-37, 2.0**-24
# The difference of two logits is read well up to here; a larger one is cut into so many steps.
STEEP, STEPS = 4.0, (1, 4, 8, 16, 32, 64)


class BundleEncoder:
    """Texts to vectors and topic logits, histories to user vectors, with a bundle's graphs.

    Texts are put together by length, in chunks and in each chunk in batches, so the cost does not
    depend on the order in which they arrive; results come in the order of the input, the same for
    any number of threads. Each thread takes one chunk at a time, so one tokenises while another
    encodes; a call of one chunk stays on the caller's thread, other threads end with the call. Safe
    to call from several threads.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self.click_model = ClickModel.from_json(bundle.file(CLICK_MODEL))
        self._threads = threads
        self._tokenizer = TextTokenizer(bundle.file(TOKENIZER), bundle.text.max_tokens)
        with refusing(GraphMalformed, NEWS_ENCODER):
            self._news = open_session(bundle.file(NEWS_ENCODER))
        with refusing(GraphMalformed, USER_ENCODER):
            self._user = open_session(bundle.file(USER_ENCODER))
        self._dim = bundle.manifest.dim
        self._topics = bundle.manifest.topics

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        return self._run("vector", texts, self._dim)

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Classify texts that must not hold their own topic: (N,) -> (N, topics)."""
        return self._run("topic_logits", texts, self._topics)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens of each text are encoded."""
        return [len(row) for row in self._tokenizer.rows(texts)]

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D); no click at all gives zeros."""
        feeds = {"history": np.ascontiguousarray(history, np.float32), "mask": mask}
        return np.asarray(self._user.run(["user"], feeds)[0], dtype=np.float32)

    def click_logits(self, vectors: Vectors) -> Vectors:
        """Return how much the user encoder attends to each article: (N, D) -> (N,).

        A user vector is the mean of a history weighted by the softmax of its logits, so whoever
        keeps them needs no graph per reader (`contract.probing.check_means` sees to it). Right to
        1e-4 where they are within +-30 of the zero vector's. Raise GraphFailed where one is no
        number.
        """
        logits = np.empty(len(vectors), np.float32)  # (N,)
        for start in range(0, len(vectors), LOGITS_PER_BATCH):
            chunk = slice(start, start + LOGITS_PER_BATCH)
            logits[chunk] = self._above_zero(vectors[chunk])
        if not np.isfinite(logits).all():
            raise GraphFailed(USER_ENCODER, "the weight of an article is no number")
        return logits

    def _above_zero(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return the logits less that of the zero vector: a constant that no softmax sees."""
        logits, left = np.empty(len(vectors)), np.arange(len(vectors))
        for count in STEPS:
            # From zero to the vector itself along its own line, on which logits rise bit by bit.
            way = [vectors[left] * np.float32(n / count) for n in range(count + 1)]
            rises = np.stack([self._rise(*ends) for ends in pairwise(way)])  # (count, L)
            logits[left] = rises.sum(axis=0)
            is_steep = rises > STEEP
            # A share of almost nothing is read well beside the zero vector, and there alone.
            is_steep[1:] |= rises[1:] < -STEEP
            left = left[is_steep.any(axis=0)]
            if not len(left):
                break
        return logits

    def _rise(self, low: Vectors, high: Vectors) -> NDArray[np.float64]:
        # Read together, they come out as low + w (high - low) with w = sigmoid(a(high) - a(low)).
        pairs = np.stack([high, low], axis=1)  # (N, 2, D)
        seen = self.users(pairs, np.ones(pairs.shape[:2], bool)).astype(np.float64)
        start = low.astype(np.float64)
        way = high - start
        with np.errstate(all="ignore"):  # what is no share gives no number, which is refused
            share = ((seen - start) * way).sum(axis=1) / (way * way).sum(axis=1)  # (N,)
        share = share.clip(LEAST_SHARE, 1 - LEAST_REST)
        return np.asarray(np.log(share) - np.log1p(-share))

    def _run(self, output: str, texts: Sequence[str], width: int) -> Vectors:
        result = np.empty((len(texts), width), dtype=np.float32)  # (N, width)

        def encode(chunk: Positions) -> None:
            rows = self._tokenizer.rows([texts[i] for i in chunk])
            batches = by_length([len(row) for row in rows], TOKENS_PER_BATCH)
            # Nothing else between two runs: each leaves the caches cold for what follows it.
            padded = [pad([rows[i] for i in batch], self._tokenizer.pad_id) for batch in batches]
            parts = [
                self._news.run([output], {"ids": tokens.ids, "mask": tokens.mask})[0]
                for tokens in padded
            ]
            result[chunk[np.concatenate(batches)]] = np.concatenate(parts)

        for_each(by_characters(texts), encode, self._threads)
        return result


def by_characters(texts: Sequence[str]) -> list[Positions]:
    """Group positions of texts with similarly many characters in chunks, longest first.

    The same texts give the same groups, in whatever order they come.
    """

    def length(position: int) -> tuple[int, str]:
        return len(texts[position]), texts[position]

    order = np.array(sorted(range(len(texts)), key=length, reverse=True), dtype=np.intp)
    smallest, largest = TEXTS_PER_CHUNK
    size = min(max(len(texts) // CHUNKS, smallest), largest)
    return [order[start : start + size] for start in range(0, len(order), size)]


def by_length(lengths: Sequence[int], tokens_per_batch: int) -> list[Positions]:
    """Group positions of similar length so that longest x count stays within the budget."""
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        is_last = end == len(order)
        if is_last or (end + 1 - start) * lengths[order[end]] > tokens_per_batch:
            batches.append(order[start:end])
            start = end
    return batches


def for_each(pieces: Sequence[Positions], work: Callable[[Positions], None], threads: int) -> None:
    """Do each piece of work, on threads that end with the call.

    The error of the first piece that failed, in their order, is raised once what has begun is done.
    """
    if min(threads, len(pieces)) < 2:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(min(threads, len(pieces)), "encoder") as pool:
        for _ in pool.map(work, pieces):
            pass


def open_session(graph: bytes) -> "InferenceSession":
    """Open a graph on the CPU; on one thread, a run stays on its caller's.

    Memory is kept from run to run, where each would fetch its own anew, page by page; it stays
    small because batches do.
    """
    import onnxruntime as ort

    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = True
    # What goes wrong is raised; neither a log line nor a second try beside it.
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    return ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
