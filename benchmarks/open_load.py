"""Requests that come when they come: seeded Poisson arrivals, timed from when each was due.

A server that falls behind is not asked any less, as it would be by clients who wait for it. The
requests are written before, so that sending takes next to nothing of the sender's core.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison import BenchmarkError

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
STATUS = slice(9, 12)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and how many seconds after its request was due it was there."""

    took_s: float
    body: bytes


def request(path: str, body: bytes, media_type: str = "application/json") -> bytes:
    """Write a request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Connections:
    """Kept connections to one server: as many as there are requests under way at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Stream] = []

    async def ask(self, written: bytes) -> bytes:
        """Send a request; return the body of its answer, raise BenchmarkError for an error."""
        stream = self._kept() or await asyncio.open_connection("127.0.0.1", self._port)
        try:
            status, body = await _answer(stream, written)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise BenchmarkError("the server closed a connection") from error
        self._idle.append(stream)
        if status != b"200":
            raise BenchmarkError(f"an answer was {status.decode()}: {body[:200].decode()}")
        return body

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            await writer.wait_closed()

    def _kept(self) -> Stream | None:
        # Those that were idle for some seconds have been closed from the other side.
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None


async def arrive(
    connections: Connections,
    requests: Sequence[bytes],
    *,
    rate: float,
    seed: int,
    most: int | None = None,
    until: asyncio.Event | None = None,
) -> list[Answered]:
    """Send the requests in turn, `rate` of them a second, so many or until an event is set."""
    loop, random = asyncio.get_running_loop(), np.random.default_rng(seed)
    due, tasks = loop.time(), list[asyncio.Task[Answered]]()
    while most is None or len(tasks) < most:
        due += random.exponential(1 / rate)
        await asyncio.sleep(due - loop.time())
        if until is not None and until.is_set():
            break
        written = requests[len(tasks) % len(requests)]
        tasks.append(asyncio.create_task(_timed(connections, written, due)))
    return await asyncio.gather(*tasks)


async def _answer(stream: Stream, written: bytes) -> tuple[bytes, bytes]:
    """Send a request and return status and body of the answer."""
    reader, writer = stream
    writer.write(written)
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    return head[STATUS], await reader.readexactly(int(length[1]) if length else 0)


async def _timed(connections: Connections, written: bytes, due: float) -> Answered:
    body = await connections.ask(written)
    return Answered(asyncio.get_running_loop().time() - due, body)
