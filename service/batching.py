"""Coalesce concurrent encodes; every waiter gets its vectors or an exception of its own."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from contract.article import Vectors
from service.errors import DeadlineExceeded, NotReady, Overloaded

Vector = NDArray[np.float32]

STOPPED = "the encoder has stopped"


class Lane(IntEnum):
    """Interactive texts are always encoded before bulk ones."""

    INTERACTIVE = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """One text, and the future its caller awaits; it is done early when the caller gave up."""

    text: str
    vector: "asyncio.Future[Vector]"

    def take(self, vector: Vector) -> None:
        """Hand the caller its vector, unless it is gone."""
        if not np.isfinite(vector).all():
            self.fail(ValueError("the encoder gave a vector that is not finite"))
        elif not self.vector.done():
            self.vector.set_result(vector)

    def fail(self, error: Exception) -> None:
        """Hand the caller an error, unless it is gone."""
        if not self.vector.done():
            self.vector.set_exception(error)


class Batcher:
    """One way to encode, shared by all requests of a process; run() owns it until cancelled.

    As many batches are with the encoder at once as there are workers; the executor has a thread
    for each. Whichever worker is free takes what waits.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[str]], Vectors],
        executor: Executor,
        *,
        workers: int = 1,
        batch: int = 64,
        max_waiting: int = 4_096,
    ) -> None:
        self._encode_texts = encode
        self._executor = executor
        self._workers = workers
        self._batch = batch
        self._max_waiting = max_waiting
        self._lanes: tuple[deque[Waiting], ...] = tuple(deque() for _ in Lane)
        self._arrived = asyncio.Event()
        self._is_stopped = False

    @property
    def waiting(self) -> int:
        """Return how many texts wait for a worker."""
        return sum(map(len, self._lanes))

    async def vectors(
        self, texts: Sequence[str], *, lane: Lane = Lane.INTERACTIVE, timeout_s: float = 30.0
    ) -> list[Vector]:
        """Encode texts: (N,) -> N vectors (D,).

        Raise Overloaded, DeadlineExceeded, NotReady once run() has ended, or what the encoder
        raised for one of these texts.
        """
        if self._is_stopped:
            raise NotReady(STOPPED)
        if len(self._lanes[lane]) + len(texts) > self._max_waiting:
            raise Overloaded("too many texts wait for the encoder")
        loop = asyncio.get_running_loop()
        waiting = [Waiting(text, loop.create_future()) for text in texts]
        self._lanes[lane].extend(waiting)
        self._arrived.set()
        try:
            async with asyncio.timeout(timeout_s):
                return list(await asyncio.gather(*(one.vector for one in waiting)))
        except TimeoutError as error:
            raise DeadlineExceeded("the text was not encoded in time") from error
        finally:
            for one in waiting:
                # Nobody waits any more: what is still queued is dropped before it costs anything.
                one.vector.cancel()

    async def run(self) -> None:
        """Encode what arrives until cancelled; then fail whoever still waits."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._workers):
                    workers.create_task(self._work())
        finally:
            self._is_stopped = True
            _stop(chain(*self._lanes))

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            try:
                if batch:
                    await self._encode(batch)
            finally:
                # Each has its vector or its error by now, unless this was cancelled.
                _stop(batch)

    def _next_batch(self) -> list[Waiting]:
        batch = list[Waiting]()
        for lane in self._lanes:
            while lane and len(batch) < self._batch:
                one = lane.popleft()
                if not one.vector.done():
                    batch.append(one)
        if not any(self._lanes):
            self._arrived.clear()
        return batch

    async def _encode(self, batch: list[Waiting]) -> None:
        encode = partial(self._encode_texts, [one.text for one in batch])
        try:
            vectors = await asyncio.get_running_loop().run_in_executor(self._executor, encode)
            _check_count(vectors, batch)
        except Exception as error:  # noqa: BLE001 - whatever the encoder raises belongs to a waiter
            await self._blame(batch, error)
            return
        for one, vector in zip(batch, vectors, strict=True):
            one.take(vector)

    async def _blame(self, batch: list[Waiting], error: Exception) -> None:
        """Find the text that fails: halve until it stands alone."""
        if len(batch) == 1:
            batch[0].fail(error)
            return
        middle = len(batch) // 2
        await self._encode(batch[:middle])
        await self._encode(batch[middle:])


def _stop(waiting: Iterable[Waiting]) -> None:
    for one in waiting:
        one.fail(NotReady(STOPPED))


def _check_count(vectors: Sequence[Vector] | Vector, batch: Sequence[Waiting]) -> None:
    if len(vectors) != len(batch):
        raise ValueError(f"the encoder gave {len(vectors)} vectors for {len(batch)} texts")
