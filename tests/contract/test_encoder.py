"""The bundle's encoder: order kept, nothing depends on the batch, budgets respected."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.bundle import NEWS_ENCODER, Bundle
from contract.encoder import TOKENS_PER_BATCH, BundleEncoder, by_characters, by_length, for_each
from tests.builders import WORDS, a_bundle, a_catalogue
from tests.contract.forging import with_a_batch_mean

# Of every length, and enough for several chunks.
TEXTS = [" ".join(article.title for article in a_catalogue(1 + i % 7)) for i in range(200)] + [""]
PATIENCE_S = 10.0


def some_texts(count: int) -> list[str]:
    """Make texts of 1 to 40 words in no order of length."""
    random = np.random.default_rng(0)
    words = [word for words in WORDS.values() for word in words]
    return [" ".join(random.choice(words, size=n)) for n in random.integers(1, 41, size=count)]


def encoder_threads() -> list[threading.Thread]:
    """Return the threads that encode just now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("encoder")]


def furthest_from_alone(encoder: BundleEncoder, texts: Sequence[str]) -> float:
    """Return the least cosine between a text's vector alone and in the batch of all."""
    together = encoder.vectors(texts)
    alone = np.concatenate([encoder.vectors([text]) for text in texts])
    return float((together * alone).sum(axis=1).min())


def telling_its_batch(bundle: Bundle) -> BundleEncoder:
    """Build an encoder whose vectors begin with the shape (B, T) of the batch they were made in."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(bundle.file(NEWS_ENCODER))
    (div,) = [node for node in model.graph.node if "vector" in node.output]
    div.output[0] = "untold"
    model.graph.node.extend([
        helper.make_node("Shape", ["ids"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["two"], to=onnx.TensorProto.FLOAT),  # (2,)
        helper.make_node("Concat", ["two"] * 4, ["told"], axis=0),  # (8,)
        helper.make_node("Sub", ["untold", "untold"], ["zeros"]),  # (B, 8)
        helper.make_node("Add", ["zeros", "told"], ["vector"]),
    ])  # fmt: skip
    files = {**bundle.files, NEWS_ENCODER: model.SerializeToString()}
    return BundleEncoder(Bundle(bundle.manifest, bundle.model, files))


def batch_shapes(encoder: BundleEncoder, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return the shape of each text's batch, sorted."""
    return sorted((int(b), int(t)) for b, t in encoder.vectors(texts)[:, :2])


class Called:
    """A part of an encoder with something done before one of its methods."""

    def __init__(self, part: Any, method: str, before: Any) -> None:
        self._part, self._method, self._before = part, method, before

    def __getattr__(self, name: str) -> Any:
        """Hand out the part's attribute, or its method with what comes before."""
        attribute = getattr(self._part, name)
        if name != self._method:
            return attribute

        def call(*arguments: Any) -> Any:
            self._before()
            return attribute(*arguments)

        return call


def overlaps(encoder: BundleEncoder, *, patience_s: float) -> bool:
    """Tell whether texts are tokenised while the graph runs, with as many as make two chunks."""
    runs, tokenised, seen = threading.Event(), threading.Semaphore(0), []
    calls = iter(range(2))

    def before_tokenising() -> None:
        if next(calls) == 1:
            seen.append(runs.wait(patience_s))
            tokenised.release(100)

    def before_running() -> None:
        runs.set()
        seen.append(tokenised.acquire(timeout=patience_s))

    encoder._tokenizer = Called(encoder._tokenizer, "rows", before_tokenising)  # type: ignore[assignment]
    encoder._news = Called(encoder._news, "run", before_running)
    encoder.vectors(some_texts(65))
    return all(seen)


def test_results_come_in_the_order_of_the_texts(encoder: BundleEncoder) -> None:
    """Sorting by length inside is not seen outside."""
    order = np.random.default_rng(0).permutation(len(TEXTS))
    vectors, logits = encoder.vectors(TEXTS), encoder.topic_logits(TEXTS)
    shuffled = [TEXTS[i] for i in order]
    assert np.allclose(encoder.vectors(shuffled), vectors[order], atol=1e-6)
    assert np.allclose(encoder.topic_logits(shuffled), logits[order], atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(encoder: BundleEncoder) -> None:
    """Alone or among others, at any padding: the same vector."""
    assert furthest_from_alone(encoder, TEXTS) > 0.9999


def test_a_vector_that_depends_on_its_batch_is_noticed(bundle: Bundle) -> None:
    """The check above fails on a graph that mixes the texts of a batch."""
    files = {**bundle.files, NEWS_ENCODER: with_a_batch_mean(bundle.file(NEWS_ENCODER))}
    spoiled = BundleEncoder(Bundle(bundle.manifest, bundle.model, files))
    assert furthest_from_alone(spoiled, TEXTS) < 0.9999


def test_vectors_have_unit_length_and_the_manifests_size(tmp_path: Path) -> None:
    """(N, D) and (N, topics), float32, whatever D is."""
    encoder = BundleEncoder(a_bundle(tmp_path / "bundle", dim=12))
    vectors, logits = encoder.vectors(TEXTS), encoder.topic_logits(TEXTS)
    assert (vectors.shape, logits.shape) == ((len(TEXTS), 12), (len(TEXTS), len(WORDS)))
    assert vectors.dtype == logits.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_no_texts_give_no_vectors(encoder: BundleEncoder) -> None:
    """An empty list is no error and has the right width."""
    assert encoder.vectors([]).shape == (0, 8)
    assert encoder.topic_logits([]).shape == (0, len(WORDS))


def test_a_text_is_cut_at_the_specifications_tokens(encoder: BundleEncoder, bundle: Bundle) -> None:
    """What follows the last token that fits changes nothing."""
    long = "team " * bundle.text.max_tokens
    assert (encoder.vectors([long + "senate vote"]) == encoder.vectors([long])).all()


def test_a_reader_without_clicks_is_the_zero_vector(encoder: BundleEncoder) -> None:
    """All padding gives zeros, whatever is in the padding."""
    history = np.ones((2, 3, 8), dtype=np.float32)
    assert (encoder.users(history, np.zeros((2, 3), dtype=bool)) == 0).all()


def test_padding_does_not_change_a_reader(encoder: BundleEncoder) -> None:
    """Masked positions are not seen, and readers do not see each other."""
    clicks = encoder.vectors(TEXTS[:3])
    alone = encoder.users(clicks[None], np.ones((1, 3), dtype=bool))
    padded = np.full((2, 5, 8), 9, dtype=np.float32)
    padded[0, :3] = clicks
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], dtype=bool)
    assert encoder.users(padded, mask)[0] == pytest.approx(alone[0], abs=1e-6)


def test_a_history_of_another_type_is_converted(encoder: BundleEncoder) -> None:
    """Float64 or strided views are accepted."""
    history = np.random.default_rng(0).standard_normal((4, 3, 16))[:, :, ::2]
    assert encoder.users(history, np.ones((4, 3), dtype=bool)).dtype == np.float32


@pytest.mark.parametrize("threads", [1, 2])
def test_several_threads_may_use_one_encoder(
    bundle: Bundle, encoder: BundleEncoder, threads: int
) -> None:
    """Calls at the same time give what they give one after the other."""
    shared, expected = BundleEncoder(bundle, threads=threads), encoder.vectors(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(shared.vectors, [TEXTS] * 8))
    assert all((vectors == expected).all() for vectors in results)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 300])
@pytest.mark.parametrize("threads", [2, 4])
def test_the_number_of_threads_changes_no_number(
    bundle: Bundle, encoder: BundleEncoder, threads: int, count: int
) -> None:
    """The same chunks and batches on any of them: equal to the last bit, in the texts' order."""
    threaded, texts = BundleEncoder(bundle, threads=threads), some_texts(count)
    assert np.array_equal(threaded.vectors(texts), encoder.vectors(texts))
    assert np.array_equal(threaded.topic_logits(texts), encoder.topic_logits(texts))


def test_one_thread_tokenises_while_another_encodes(bundle: Bundle) -> None:
    """With two threads neither waits for the other; with one there is nobody else."""
    assert overlaps(BundleEncoder(bundle, threads=2), patience_s=PATIENCE_S)
    assert not overlaps(BundleEncoder(bundle), patience_s=0.01)


def test_no_thread_outlives_a_call(bundle: Bundle) -> None:
    """Nothing has to be closed."""
    BundleEncoder(bundle, threads=4).vectors(some_texts(300))
    assert encoder_threads() == []


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_one_chunk_is_the_callers(bundle: Bundle, threads: int) -> None:
    """It is raised by the call that met it, leaves no thread, and spoils no later call."""
    encoder, failures = BundleEncoder(bundle, threads=threads), iter([RuntimeError("the graph")])

    def fail_once() -> None:
        for error in failures:
            raise error

    expected, texts = encoder.vectors(some_texts(300)), some_texts(300)
    encoder._news = Called(encoder._news, "run", fail_once)
    with pytest.raises(RuntimeError, match="the graph"):
        encoder.vectors(texts)
    assert encoder_threads() == []
    assert np.array_equal(encoder.vectors(texts), expected)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_what_has_not_begun_at_an_error_is_left_out(threads: int) -> None:
    """What has begun is finished."""
    begun, done = [], []

    def work(piece: Any) -> None:
        begun.append(piece[0])
        time.sleep(0.001)
        if piece[0] == 3:
            raise ValueError("the third")
        done.append(piece[0])

    with pytest.raises(ValueError, match="the third"):
        for_each(np.arange(2_000)[:, None], work, threads)  # type: ignore[arg-type]
    assert sorted(done) == sorted(set(begun) - {3})
    assert len(begun) < 2_000


def test_the_batches_do_not_depend_on_the_order_of_the_texts(bundle: Bundle) -> None:
    """Sorted, reversed and shuffled texts cost the same: they are put together by length."""
    encoder, shuffled = telling_its_batch(bundle), some_texts(300)
    ascending = sorted(shuffled, key=len)
    expected = batch_shapes(encoder, shuffled)
    assert batch_shapes(encoder, ascending) == batch_shapes(encoder, ascending[::-1]) == expected
    # Batches of texts that only arrived together are others: the comparison can fail.
    halves = [batch_shapes(encoder, half) for half in (shuffled[:150], shuffled[150:])]
    assert sorted(halves[0] + halves[1]) != expected


def test_what_the_graph_sees_is_within_the_budget(bundle: Bundle) -> None:
    """Texts x longest, padding included, or one text alone."""
    shapes = batch_shapes(telling_its_batch(bundle), some_texts(300))
    assert all(count == 1 or count * length <= TOKENS_PER_BATCH for count, length in shapes)
    assert max(count * length for count, length in shapes) > 0.9 * TOKENS_PER_BATCH


@given(st.lists(st.text(max_size=8), max_size=200), st.randoms(use_true_random=False))
def test_chunks_hold_the_same_texts_in_any_order(texts: list[str], random: Any) -> None:
    """Each text is in one chunk, longer ones never after shorter ones."""
    again = random.sample(texts, len(texts))
    chunks, others = ([[t[i] for i in chunk] for chunk in by_characters(t)] for t in (texts, again))
    assert chunks == others
    together = [text for chunk in chunks for text in chunk]
    assert sorted(together) == sorted(texts)
    assert [len(text) for text in together] == sorted(map(len, texts), reverse=True)


@pytest.mark.parametrize(
    ("texts", "size"), [(1, 1), (64, 64), (65, 64), (1_600, 100), (10_000, 256)]
)
def test_chunks_are_neither_small_nor_large(texts: int, size: int) -> None:
    """A sixteenth of a call, but 64 to 256 texts."""
    assert max(len(chunk) for chunk in by_characters(["a"] * texts)) == size


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 200))
def test_batches_respect_the_budget_and_cover_everything(lengths: list[int], budget: int) -> None:
    """Each position is in one batch; a batch is within the budget or holds a single text."""
    batches = by_length(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 200))
def test_batches_are_as_few_as_their_order_allows(lengths: list[int], budget: int) -> None:
    """The first text of the next batch would not have fitted."""
    batches = by_length(lengths, budget)
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > budget


def test_importing_the_encoder_loads_no_runtime() -> None:
    """Whoever only names the type does not pay for ONNX Runtime."""
    check = "import sys, contract.encoder, contract.golden; print('onnxruntime' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
