"""Calls to Redis that end in bounded time with a reply or one of our errors.

redis-py finds the servers (one, by Sentinel, or the nodes of a Cluster); each call then goes to one
server as one pipeline or one MULTI. Cluster pipelines of redis-py are not used: after a failure
they send every command again on its own, each with its own timeout.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar

from redis import exceptions as e

from service.adapters.redis_layout import Command
from service.errors import StoreError, StoreFull, StoreUnavailable

T = TypeVar("T")
# What redis-py makes of a reply: bytes, int, list, set, dict, None or a ResponseError.
Reply: TypeAlias = Any
# redis-py's clients and pipelines share no type that says what is used of them here.
Client: TypeAlias = Any

FAILURES = (e.RedisError, e.RedisClusterException, OSError)
# Worth a second try at once: a pooled connection may be stale, a slot may have moved. A timeout is
# not: it has already cost what the caller can spare.
RETRIED = (e.ConnectionError, e.MovedError, e.ClusterDownError, e.SlotNotCoveredError)

# Of one step of a scan: few enough that other clients hardly wait for it.
KEYS_AT_ONCE = 1_000


class Servers(Protocol):
    """Which server holds a key."""

    @property
    def is_parted(self) -> bool:
        """Say whether keys lie in slots, and a MULTI holds those of one."""
        ...

    def of(self, key: str) -> Client:
        """Return the redis-py client of the server that holds a key."""
        ...

    def refresh(self) -> None:
        """Look anew for which servers there are."""
        ...

    def close(self) -> None:
        """Disconnect from all."""
        ...


class RedisLink:
    """Sends commands from any thread; connects on first use, so it can exist before Redis does."""

    def __init__(self, connect: Callable[[], Servers]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._servers: Servers | None = None

    def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one round trip per server; the replies are in order, not atomic.

        A key of a foreign type gives a ResponseError among the replies; all else is raised.
        """
        return self._tried(lambda servers: _pipelined(servers, commands))

    def is_parted(self) -> bool:
        """Say whether keys lie in slots, and a MULTI holds those of one."""
        return self._tried(lambda servers: servers.is_parted)

    def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands on keys of one slot as one MULTI: all are done, or the call raises."""

        def send(servers: Servers) -> list[Reply]:
            pipe = _staged(servers.of(str(commands[0][1])).pipeline(transaction=True), commands)
            return list(pipe.execute())

        return self._tried(send)

    def compare_and_set(
        self,
        watched: Sequence[str],
        read: Command,
        decide: Callable[[Reply], tuple[Sequence[Command], T]],
    ) -> T | None:
        """Read, then send what `decide` makes of the reply as one MULTI.

        All keys are of one slot, where there are slots.
        Return what else it makes, None when somebody wrote a watched key in between. A MULTI whose
        reply was lost may have been done: it is never sent again, all begins anew with reading.
        """
        return self._tried(lambda servers: _compared(servers.of(watched[0]), watched, read, decide))

    def keys(self, pattern: str) -> set[bytes]:
        """Find the keys that match a pattern, all of one slot."""

        def scan(servers: Servers) -> set[bytes]:
            # On one connection: a cursor means nothing to another server, or after a restart.
            with servers.of(pattern).client() as client:
                return set(client.scan_iter(match=pattern, count=KEYS_AT_ONCE))

        return self._tried(scan)

    def close(self) -> None:
        """Disconnect; a later call connects again."""
        with self._lock:
            servers, self._servers = self._servers, None
        if servers is not None:
            servers.close()

    def _tried(self, send: Callable[[Servers], T]) -> T:
        try:
            return send(self._connected())
        except RETRIED:
            self._refresh()
        except FAILURES as error:
            if isinstance(error, e.TimeoutError):
                self._refresh()
            raise as_store_error(error) from error
        try:
            return send(self._connected())
        except FAILURES as error:
            raise as_store_error(error) from error

    def _connected(self) -> Servers:
        with self._lock:
            if self._servers is None:
                self._servers = self._connect()
            return self._servers

    def _refresh(self) -> None:
        with suppress(*FAILURES):
            self._connected().refresh()


def as_store_error(error: BaseException) -> StoreError:
    """Translate redis-py's error; the message holds no values of a command."""
    # redis-py puts the failed command, texts included, before the server's own words.
    words = str(error).rpartition("caused error: ")[2]
    if isinstance(error, e.OutOfMemoryError) or words.startswith("MISCONF"):
        return StoreFull(f"Redis refuses writes: {words}")
    return StoreUnavailable(f"Redis: {type(error).__name__}: {words}")


def require(reply: Reply) -> Reply:
    """Return a reply, or raise the error it is: for keys whose type nothing can stand in for."""
    if isinstance(reply, Exception):
        raise as_store_error(reply) from reply
    return reply


def _pipelined(servers: Servers, commands: Sequence[Command]) -> list[Reply]:
    parts: dict[int, tuple[Client, list[int]]] = {}
    for place, command in enumerate(commands):
        client = servers.of(str(command[1]))
        parts.setdefault(id(client), (client, []))[1].append(place)
    replies: list[Reply] = [None] * len(commands)
    for client, places in parts.values():
        pipe = _staged(client.pipeline(transaction=False), (commands[i] for i in places))
        for place, reply in zip(places, pipe.execute(raise_on_error=False), strict=True):
            replies[place] = _sound(reply)
    return replies


def _compared(
    client: Client,
    watched: Sequence[str],
    read: Command,
    decide: Callable[[Reply], tuple[Sequence[Command], T]],
) -> T | None:
    with client.pipeline(transaction=True) as pipe:
        try:
            pipe.watch(*watched)
            # redis-py is not to know: after a failure it would connect anew only to UNWATCH, which
            # costs a second timeout and the connection, and would hide the failure as a conflict.
            pipe.watching = False
            commands, made = decide(pipe.immediate_execute_command(*read))
            if commands:
                _staged(pipe, commands).execute()
            else:
                pipe.immediate_execute_command("UNWATCH")
        except e.WatchError:
            return None
        except BaseException:
            # Where EXEC did not end the watch, the connection does: it goes back to the pool.
            if pipe.connection is not None:
                pipe.connection.disconnect()
            raise
        return made


def _staged(pipe: Client, commands: Iterable[Command]) -> Client:
    for command in commands:
        pipe.execute_command(*command)
    return pipe


def _sound(reply: Reply) -> Reply:
    if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
        raise reply
    return reply
