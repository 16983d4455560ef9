"""Coalesce concurrent encodes; every waiter gets its vectors or an exception of its own."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.errors import DeadlineExceeded, Overloaded
from service.ports import TextEncoder

Vector = NDArray[np.float32]


class Lane(IntEnum):
    """Interactive texts are always encoded before bulk ones."""

    INTERACTIVE = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """One text, the future its caller awaits, and when that caller gives up (monotonic)."""

    text: str
    vector: "asyncio.Future[Vector]"
    deadline: float

    def is_wanted(self, now: float) -> bool:
        """Say whether the caller still waits; tell it when its time ran out."""
        if not self.vector.done() and now >= self.deadline:
            self.vector.set_exception(DeadlineExceeded("the text was not encoded in time"))
        return not self.vector.done()


class Batcher:
    """One encoder shared by all requests of a process; run() owns it until cancelled."""

    def __init__(
        self, encoder: TextEncoder, executor: Executor, *, batch: int = 64, max_waiting: int = 4_096
    ) -> None:
        self._encoder = encoder
        self._executor = executor
        self._batch = batch
        self._max_waiting = max_waiting
        self._lanes: tuple[deque[Waiting], ...] = tuple(deque() for _ in Lane)
        self._arrived = asyncio.Event()

    async def vectors(
        self, texts: Sequence[str], *, lane: Lane = Lane.INTERACTIVE, timeout_s: float = 30.0
    ) -> list[Vector]:
        """Encode texts: (N,) -> N vectors (D,).

        Raise Overloaded, DeadlineExceeded, or what the encoder raised for one of these texts.
        """
        if sum(map(len, self._lanes)) + len(texts) > self._max_waiting:
            raise Overloaded("too many texts wait for the encoder")
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + timeout_s
        waiting = [Waiting(text, loop.create_future(), deadline) for text in texts]
        self._lanes[lane].extend(waiting)
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(one.vector for one in waiting)))
        finally:
            for one in waiting:
                # Nobody waits any more: what is still queued is dropped before it costs anything.
                one.vector.cancel()

    async def run(self) -> None:
        """Encode what arrives until cancelled; then fail whoever still waits."""
        try:
            while True:
                await self._arrived.wait()
                batch = self._next_batch()
                if batch:
                    await self._encode(batch)
        finally:
            for one in (one for lane in self._lanes for one in lane):
                one.vector.cancel()

    def _next_batch(self) -> list[Waiting]:
        now, batch = time.monotonic(), list[Waiting]()
        for lane in self._lanes:
            while lane and len(batch) < self._batch:
                one = lane.popleft()
                if one.is_wanted(now):
                    batch.append(one)
        if not any(self._lanes):
            self._arrived.clear()
        return batch

    async def _encode(self, batch: list[Waiting]) -> None:
        encode = partial(self._encoder.vectors, [one.text for one in batch])
        try:
            vectors = await asyncio.get_running_loop().run_in_executor(self._executor, encode)
        except Exception as error:  # noqa: BLE001 - whatever the encoder raises belongs to a waiter
            await self._blame(batch, error)
            return
        for one, vector in zip(batch, vectors, strict=True):
            _resolve(one, vector)

    async def _blame(self, batch: list[Waiting], error: Exception) -> None:
        """Find the text that fails: halve until it stands alone."""
        if len(batch) == 1:
            if not batch[0].vector.done():
                batch[0].vector.set_exception(error)
            return
        middle = len(batch) // 2
        await self._encode(batch[:middle])
        await self._encode(batch[middle:])


def _resolve(one: Waiting, vector: Vector) -> None:
    if one.vector.done():
        return
    if np.isfinite(vector).all():
        one.vector.set_result(vector)
    else:
        one.vector.set_exception(ValueError("the encoder gave a vector that is not finite"))
