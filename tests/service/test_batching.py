"""The batcher: callers at once share one call, and each gets its vectors or its own error."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import pytest

from contract.article import Vectors
from service.batching import Batcher, Lane
from service.errors import DeadlineExceeded, NotReady, Overloaded
from tests.service.fakes import PATIENCE_S, FakeEncoder, a_vector, until

pytestmark = pytest.mark.anyio


class Workers(ThreadPoolExecutor):
    """The encoder's threads, and how many they are."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


@pytest.fixture(params=[1, 2])
def executor(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Give one worker and two in turn: what follows holds for any number."""
    with Workers(request.param) as workers:
        yield workers


class Held(FakeEncoder):
    """Returns from a call only once the first text of it was let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go: set[str] = set()
        self._changed = threading.Condition()

    def let(self, text: str) -> None:
        """Let the call that begins with a text return."""
        with self._changed:
            self.let_go.add(text)
            self._changed.notify_all()

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts once the first of them was let go."""
        vectors = super().vectors(texts)
        with self._changed:
            assert self._changed.wait_for(lambda: texts[0] in self.let_go, PATIENCE_S)
        return vectors


@asynccontextmanager
async def running(
    encoder: FakeEncoder, executor: Workers, **options: Any
) -> AsyncIterator[Batcher]:
    """Run a batcher for the length of a block."""
    batcher = Batcher(encoder.vectors, executor, workers=executor.count, **options)
    task = asyncio.create_task(batcher.run())
    async with asyncio.timeout(PATIENCE_S):
        yield batcher
        encoder.gate.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def busy(encoder: FakeEncoder, executor: Workers, **options: Any) -> AsyncIterator[Batcher]:
    """Run a batcher each of whose workers is held at a text of no account until the gate opens."""
    async with running(encoder, executor, **options) as batcher:
        encoder.gate.clear()
        held = []
        for count in range(1, executor.count + 1):
            held.append(asyncio.create_task(batcher.vectors(["held"])))
            await until(lambda count=count: len(encoder.calls) == count)
        yield batcher
        encoder.gate.set()
        await asyncio.gather(*held)


async def some_turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_caller_gets_its_vectors_in_its_order(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """One vector (D,) a text; no texts are no work."""
    async with running(encoder, executor) as batcher:
        vectors = await batcher.vectors(["b", "a", "b"])
        assert np.array_equal(vectors, [a_vector("b"), a_vector("a"), a_vector("b")])
        assert await batcher.vectors([]) == []
        await some_turns()
        assert encoder.calls == [["b", "a", "b"]]


async def test_callers_at_once_share_one_call(encoder: FakeEncoder, executor: Workers) -> None:
    """What waits while the encoder is busy is encoded together, and each gets its own."""
    async with busy(encoder, executor) as batcher:
        callers = [asyncio.create_task(batcher.vectors([f"{i}", f"{i}'"])) for i in range(5)]
        await some_turns()
        encoder.gate.set()
        for i, vectors in enumerate(await asyncio.gather(*callers)):
            assert np.array_equal(vectors, [a_vector(f"{i}"), a_vector(f"{i}'")])
        assert [len(call) for call in encoder.calls[executor.count :]] == [10]


async def test_a_batch_has_a_bound(encoder: FakeEncoder, executor: Workers) -> None:
    """Many texts of one caller are cut into batches."""
    async with running(encoder, executor, batch=4) as batcher:
        assert len(await batcher.vectors([str(i) for i in range(10)])) == 10
        assert sorted(len(call) for call in encoder.calls) == [2, 4, 4]


async def test_as_many_batches_are_encoded_at_once_as_there_are_workers(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Not more: what comes then waits, and goes together."""
    async with busy(encoder, executor) as batcher:
        callers = [asyncio.create_task(batcher.vectors([text])) for text in "ab"]
        await some_turns()
        assert len(encoder.calls) == executor.count
        encoder.gate.set()
        await asyncio.gather(*callers)
        assert encoder.calls[executor.count :] == [["a", "b"]]


async def test_a_worker_that_becomes_free_takes_interactive_texts_first() -> None:
    """While the other is still busy; neither waits for the other."""
    encoder = Held()
    with Workers(2) as workers:
        async with running(encoder, workers, batch=2) as batcher:
            calls = [asyncio.create_task(batcher.vectors(["a"], lane=Lane.BULK))]
            await until(lambda: encoder.calls == [["a"]])
            calls += [asyncio.create_task(batcher.vectors(["b"], lane=Lane.BULK))]
            await until(lambda: encoder.calls == [["a"], ["b"]])
            calls += [asyncio.create_task(batcher.vectors(["b1", "b2"], lane=Lane.BULK))]
            await some_turns()
            calls += [asyncio.create_task(batcher.vectors(["i1"]))]
            await some_turns()
            encoder.let("b")
            await until(lambda: len(encoder.calls) == 3)
            assert encoder.calls[2] == ["i1", "b1"]
            for text in ("a", "i1", "b2"):
                encoder.let(text)
            await asyncio.gather(*calls)


async def test_interactive_texts_go_before_bulk_ones(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """A reader does not wait behind a refresh that came first."""
    async with busy(encoder, executor, batch=2) as batcher:
        bulk = asyncio.create_task(batcher.vectors(["b1", "b2", "b3"], lane=Lane.BULK))
        await some_turns()
        quick = asyncio.create_task(batcher.vectors(["i1"]))
        await some_turns()
        encoder.gate.set()
        await asyncio.gather(bulk, quick)
        # Two workers take them in this order, and may begin with them in the other.
        assert sorted(encoder.calls[executor.count :]) == [["b2", "b3"], ["i1", "b1"]]


@pytest.mark.parametrize("flaw", ["refused", "broken"])
async def test_one_bad_text_fails_alone(encoder: FakeEncoder, executor: Workers, flaw: str) -> None:
    """Its caller gets the error or, for a vector that is not finite, ValueError; others theirs."""
    getattr(encoder, flaw).add("7")
    async with busy(encoder, executor) as batcher:
        callers = [asyncio.create_task(batcher.vectors([str(i)])) for i in range(12)]
        await some_turns()
        encoder.gate.set()
        results = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(results.pop(7), ValueError)
        expected = [[a_vector(str(i))] for i in range(12) if i != 7]
        assert np.array_equal(np.array(results), expected)


async def test_the_batcher_goes_on_after_a_failure(encoder: FakeEncoder, executor: Workers) -> None:
    """A bad text costs its own caller, not the next one."""
    encoder.refused.add("bad")
    async with running(encoder, executor) as batcher:
        with pytest.raises(ValueError, match="refused"):
            await batcher.vectors(["good", "bad"])
        assert len(await batcher.vectors(["good"])) == 1


async def test_a_callers_other_texts_are_dropped_when_one_fails(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Nobody waits for them any more."""
    encoder.refused.add("bad")
    async with running(encoder, executor, batch=1) as batcher:
        with pytest.raises(ValueError, match="refused"):
            await batcher.vectors(["bad", *"23456789"])
        await batcher.vectors(["next"])
        assert "9" not in encoder.texts


async def test_too_few_vectors_are_an_error_of_their_callers(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """An encoder that returns too little is a defect, told to whoever waits."""

    class Short(FakeEncoder):
        def vectors(self, texts: Any) -> Any:
            return super().vectors(texts)[:-1]

    async with running(Short(), executor) as batcher:
        for _ in range(2):
            with pytest.raises(ValueError, match="vectors"):
                await batcher.vectors(["a", "b"])


async def test_a_text_not_encoded_in_time_fails_and_costs_nothing(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Past its deadline a waiting text never reaches the encoder."""
    async with busy(encoder, executor) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.vectors(["late"], timeout_s=0.01)
        encoder.gate.set()
        await batcher.vectors(["next"])
        assert "late" not in encoder.texts


async def test_a_caller_is_answered_at_its_deadline_and_not_later(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Also when its own text is being encoded just then."""
    async with running(encoder, executor) as batcher:
        encoder.gate.clear()
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await batcher.vectors(["slow"], timeout_s=0.05)
        assert time.monotonic() - started < 2
        encoder.gate.set()
        assert len(await batcher.vectors(["next"])) == 1


async def test_texts_of_callers_who_went_away_are_never_encoded(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Work of vanished clients is dropped, that of the others is not."""
    async with busy(encoder, executor) as batcher:
        gone = asyncio.create_task(batcher.vectors(["gone", "gone too"]))
        stays = asyncio.create_task(batcher.vectors(["stays"]))
        await some_turns()
        gone.cancel()
        await some_turns()
        encoder.gate.set()
        assert len(await stays) == 1
        assert gone.cancelled()
        assert encoder.texts[executor.count :] == ["stays"]


async def test_a_caller_who_goes_away_mid_encode_disturbs_nobody(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """The batch is already with the encoder: the others still get their vectors."""
    async with running(encoder, executor) as batcher:
        encoder.gate.clear()
        callers = [asyncio.create_task(batcher.vectors([t])) for t in ("gone", "stays")]
        await until(lambda: bool(encoder.calls))
        callers[0].cancel()
        encoder.gate.set()
        assert len(await callers[1]) == 1
        assert encoder.calls == [["gone", "stays"]]


async def test_too_many_waiting_texts_are_refused_at_once(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """The bound is on texts that wait; what was accepted is still answered."""
    async with busy(encoder, executor, max_waiting=3) as batcher:
        accepted = asyncio.create_task(batcher.vectors(["1", "2"]))
        await some_turns()
        with pytest.raises(Overloaded):
            await batcher.vectors(["3", "4"])
        also = asyncio.create_task(batcher.vectors(["3"]))
        await some_turns()
        encoder.gate.set()
        assert [len(v) for v in await asyncio.gather(accepted, also)] == [2, 1]
        assert len(await batcher.vectors(["5", "6", "7"])) == 3


async def test_every_waiter_is_answered_when_the_batcher_stops(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Those queued in both lanes, and those whose text is with the encoder just then."""
    batcher = Batcher(encoder.vectors, executor, workers=executor.count, batch=2)
    task = asyncio.create_task(batcher.run())
    encoder.gate.clear()
    callers = [asyncio.create_task(batcher.vectors([f"i{i}"])) for i in range(4)]
    callers += [asyncio.create_task(batcher.vectors(["b"], lane=Lane.BULK))]
    await until(lambda: bool(encoder.calls))
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*callers, return_exceptions=True)
    encoder.gate.set()
    assert [type(r) for r in results] == [NotReady] * 5
    assert task.cancelled()


async def test_who_comes_after_the_batcher_stopped_is_answered_too(
    encoder: FakeEncoder, executor: Workers
) -> None:
    """Nobody waits for an encoder that will not run."""
    async with running(encoder, executor) as batcher:
        await batcher.vectors(["early"])
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotReady):
            await batcher.vectors(["late"])
