"""The batcher: callers at once share one call, and each gets its vectors or its own error."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import pytest

from service.batching import Batcher, Lane
from service.errors import DeadlineExceeded, NotReady, Overloaded
from tests.service.fakes import PATIENCE_S, FakeEncoder, a_vector, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(
    encoder: FakeEncoder, executor: Executor, **options: Any
) -> AsyncIterator[Batcher]:
    """Run a batcher for the length of a block."""
    batcher = Batcher(encoder.vectors, executor, **options)
    task = asyncio.create_task(batcher.run())
    async with asyncio.timeout(PATIENCE_S):
        yield batcher
        encoder.gate.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def busy(encoder: FakeEncoder, executor: Executor, **options: Any) -> AsyncIterator[Batcher]:
    """Run a batcher whose encoder is held at a text of no account until the gate opens."""
    async with running(encoder, executor, **options) as batcher:
        encoder.gate.clear()
        first = asyncio.create_task(batcher.vectors(["first"]))
        await until(lambda: bool(encoder.calls))
        yield batcher
        encoder.gate.set()
        await first


async def some_turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_caller_gets_its_vectors_in_its_order(
    encoder: FakeEncoder, executor: Executor
) -> None:
    """One vector (D,) a text; no texts are no work."""
    async with running(encoder, executor) as batcher:
        vectors = await batcher.vectors(["b", "a", "b"])
        assert np.array_equal(vectors, [a_vector("b"), a_vector("a"), a_vector("b")])
        assert await batcher.vectors([]) == []


async def test_callers_at_once_share_one_call(encoder: FakeEncoder, executor: Executor) -> None:
    """What waits while the encoder is busy is encoded together, and each gets its own."""
    async with busy(encoder, executor) as batcher:
        callers = [asyncio.create_task(batcher.vectors([f"{i}", f"{i}'"])) for i in range(5)]
        await some_turns()
        encoder.gate.set()
        for i, vectors in enumerate(await asyncio.gather(*callers)):
            assert np.array_equal(vectors, [a_vector(f"{i}"), a_vector(f"{i}'")])
        assert [len(call) for call in encoder.calls] == [1, 10]


async def test_a_batch_has_a_bound(encoder: FakeEncoder, executor: Executor) -> None:
    """Many texts of one caller are cut into batches."""
    async with running(encoder, executor, batch=4) as batcher:
        assert len(await batcher.vectors([str(i) for i in range(10)])) == 10
        assert [len(call) for call in encoder.calls] == [4, 4, 2]


async def test_interactive_texts_go_before_bulk_ones(
    encoder: FakeEncoder, executor: Executor
) -> None:
    """A reader does not wait behind a refresh that came first."""
    async with busy(encoder, executor, batch=2) as batcher:
        bulk = asyncio.create_task(batcher.vectors(["b1", "b2", "b3"], lane=Lane.BULK))
        await some_turns()
        quick = asyncio.create_task(batcher.vectors(["i1"]))
        await some_turns()
        encoder.gate.set()
        await asyncio.gather(bulk, quick)
        assert encoder.calls[1:] == [["i1", "b1"], ["b2", "b3"]]


@pytest.mark.parametrize("flaw", ["refused", "broken"])
async def test_one_bad_text_fails_alone(
    encoder: FakeEncoder, executor: Executor, flaw: str
) -> None:
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


async def test_the_batcher_goes_on_after_a_failure(
    encoder: FakeEncoder, executor: Executor
) -> None:
    """A bad text costs its own caller, not the next one."""
    encoder.refused.add("bad")
    async with running(encoder, executor) as batcher:
        with pytest.raises(ValueError, match="refused"):
            await batcher.vectors(["good", "bad"])
        assert len(await batcher.vectors(["good"])) == 1


async def test_a_callers_other_texts_are_dropped_when_one_fails(
    encoder: FakeEncoder, executor: Executor
) -> None:
    """Nobody waits for them any more."""
    encoder.refused.add("bad")
    async with running(encoder, executor, batch=1) as batcher:
        with pytest.raises(ValueError, match="refused"):
            await batcher.vectors(["bad", "2", "3", "4"])
        await batcher.vectors(["next"])
        assert "4" not in encoder.texts


async def test_too_few_vectors_are_an_error_of_their_callers(
    encoder: FakeEncoder, executor: Executor
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
    encoder: FakeEncoder, executor: Executor
) -> None:
    """Past its deadline a waiting text never reaches the encoder."""
    async with busy(encoder, executor) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.vectors(["late"], timeout_s=0.01)
        encoder.gate.set()
        await batcher.vectors(["next"])
        assert "late" not in encoder.texts


async def test_a_caller_is_answered_at_its_deadline_and_not_later(
    encoder: FakeEncoder, executor: Executor
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
    encoder: FakeEncoder, executor: Executor
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
        assert encoder.texts == ["first", "stays"]


async def test_a_caller_who_goes_away_mid_encode_disturbs_nobody(
    encoder: FakeEncoder, executor: Executor
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
    encoder: FakeEncoder, executor: Executor
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
    encoder: FakeEncoder, executor: Executor
) -> None:
    """Those queued in both lanes, and those whose text is with the encoder just then."""
    batcher = Batcher(encoder.vectors, executor, batch=2)
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
    encoder: FakeEncoder, executor: Executor
) -> None:
    """Nobody waits for an encoder that will not run."""
    async with running(encoder, executor) as batcher:
        await batcher.vectors(["early"])
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotReady):
            await batcher.vectors(["late"])
