"""Texts: their vectors in the order given, their topics with shares that sum to 1."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pytest

from contract.article import Vectors
from service.batching import Batcher
from service.errors import DeadlineExceeded, Unanswerable
from service.texts import INTERACTIVE_TEXTS, Texts, TopicShare, taxonomies_of
from tests.service.fakes import ACTIVATION, DIM, PATIENCE_S, FakeEncoder, a_catalogue_with, a_vector

pytestmark = pytest.mark.anyio
TOPICS = ["mind/sports", "tag/sport", "mind/news/local", "tag/health", "mind/finance"]


class Classifier(FakeEncoder):
    """Gives text "1 2 3 4 5" these very logits, and counts white space for tokens."""

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Read the logits: (N,) -> (N, topics)."""
        self.vectors([])  # waits at the same gate
        return np.array([[float(word) for word in text.split()] for text in texts], np.float32)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Count words."""
        return [len(text.split()) for text in texts]


@dataclass
class Case:
    """Texts on a fake encoder."""

    encoder: Classifier
    texts: Texts

    async def topics(
        self, *texts: str, taxonomy: str | None = None, n: int = 20
    ) -> list[dict[str, list[TopicShare]]]:
        """Classify."""
        return await self.texts.topics(texts, taxonomy=taxonomy, n=n, timeout_s=1.0)


@asynccontextmanager
async def a_case(
    executor: Executor, topics: Sequence[str] = TOPICS, max_texts: int = 256
) -> AsyncIterator[Case]:
    """Run both batchers for the length of a block."""
    encoder, catalogue = Classifier(), a_catalogue_with()
    vectors = Batcher(encoder.vectors, executor)
    logits = Batcher(encoder.topic_logits, executor)
    texts = Texts(
        lambda: catalogue.current,
        vectors,
        logits,
        encoder.token_counts,
        topics,
        max_texts=max_texts,
    )
    tasks = [asyncio.create_task(one.run()) for one in (vectors, logits)]
    async with asyncio.timeout(PATIENCE_S):
        yield Case(encoder, texts)
    encoder.gate.set()
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_texts_are_embedded_in_canonical_form_and_their_order(executor: Executor) -> None:
    """Equal texts in two spellings have one vector; tokens are summed."""
    async with a_case(executor) as case:
        embedded = await case.texts.embed(["b  cafe\u0301", " a\x00", "b café"], timeout_s=1)
    expected = [a_vector("b café"), a_vector("a"), a_vector("b café")]
    assert np.array_equal(embedded.vectors, expected)
    assert embedded.tokens == 5


async def test_too_many_texts_are_refused(executor: Executor) -> None:
    """Before anything is encoded."""
    async with a_case(executor, max_texts=2) as case:
        assert len((await case.texts.embed(["a", "b"], timeout_s=1)).vectors) == 2
        with pytest.raises(Unanswerable, match="at most 2"):
            await case.texts.embed(["c"] * 3, timeout_s=1)
    assert case.encoder.texts == ["a", "b"]


async def test_a_handful_of_texts_goes_before_a_job(executor: Executor) -> None:
    """Up to eight are interactive."""
    async with a_case(executor) as case:
        case.encoder.gate.clear()
        first = asyncio.create_task(case.texts.embed(["first"], timeout_s=5))
        await asyncio.sleep(0.05)
        many = [f"job {i}" for i in range(INTERACTIVE_TEXTS + 1)]
        few = [f"quick {i}" for i in range(INTERACTIVE_TEXTS)]
        calls = [asyncio.create_task(case.texts.embed(texts, timeout_s=5)) for texts in (many, few)]
        await asyncio.sleep(0.05)
        case.encoder.gate.set()
        await asyncio.gather(first, *calls)
    assert case.encoder.texts == ["first", *few, *many]


async def test_time_runs_out_for_both(executor: Executor) -> None:
    """DeadlineExceeded, as for every text."""
    async with a_case(executor) as case:
        case.encoder.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await case.texts.embed(["a"], timeout_s=0.01)
        with pytest.raises(DeadlineExceeded):
            await case.texts.topics(["1 2 3 4 5"], taxonomy=None, n=1, timeout_s=0.01)


async def test_shares_sum_to_one_within_each_taxonomy(executor: Executor) -> None:
    """By the softmax over its own topics, likeliest first, ties by name."""
    async with a_case(executor) as case:
        (shares,) = await case.topics("1 7 3 7 1")
    assert list(shares) == ["mind", "tag"]
    assert shares["tag"] == [TopicShare("health", 0.5), TopicShare("sport", 0.5)]
    assert [one.topic for one in shares["mind"]] == ["news/local", "finance", "sports"]
    weights = np.exp([3, 1, 1])
    expected = weights / weights.sum()
    assert [one.probability for one in shares["mind"]] == pytest.approx(expected)


async def test_huge_logits_are_no_problem(executor: Executor) -> None:
    """A softmax of large numbers stays finite."""
    async with a_case(executor) as case:
        (shares,) = await case.topics("10000 0 -10000 0 0", taxonomy="mind", n=1)
    assert shares == {"mind": [TopicShare("sports", 1.0)]}


async def test_each_text_has_the_n_likeliest_topics_of_the_taxonomy_asked_for(
    executor: Executor,
) -> None:
    """In the order of the texts; no more than there are."""
    async with a_case(executor) as case:
        results = await case.topics("1 2 3 4 5", "5 4 3 2 1", taxonomy="mind", n=1)
        assert [one["mind"][0].topic for one in results] == ["finance", "sports"]
        assert len((await case.topics("1 2 3 4 5", n=20))[0]["tag"]) == 2


@pytest.mark.parametrize(
    ("topics", "taxonomy"), [(TOPICS, "Mind"), (TOPICS, ""), ([], None), ([], "mind")]
)
async def test_a_taxonomy_that_the_model_does_not_know_is_refused(
    executor: Executor, topics: list[str], taxonomy: str | None
) -> None:
    """Also any at all, by a model without topics; and the input is not repeated."""
    async with a_case(executor, topics) as case:
        with pytest.raises(Unanswerable) as error:
            await case.topics("1 2 3 4 5", taxonomy=taxonomy)
    assert "Mind" not in str(error.value)


async def test_what_serves_is_told(executor: Executor) -> None:
    """The active model, the length of its vectors, its topics by their full names."""
    async with a_case(executor) as case:
        assert (case.texts.serving, case.texts.dim) == (ACTIVATION, DIM)
        assert sorted(case.texts.topic_names) == sorted(TOPICS)


def test_a_bare_topic_is_of_mind() -> None:
    """As bundles named topics before there were taxonomies."""
    (one,) = taxonomies_of(["sports", "mind/finance"])
    assert (one.name, one.topics) == ("mind", ("sports", "finance"))
