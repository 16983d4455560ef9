"""One SQLite file as transactions: a pool of connections, durable commits, errors of our tree."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import SchemaUnknown, StoreError, StoreFull, StoreUnavailable

BUSY_TIMEOUT_S = 2.0
PAUSE_S = 0.01
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    # With WAL, FULL is what makes a commit survive a power cut.
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 67108864",
    # What is deleted or written over is zeroed, whatever SQLite was built with.
    "PRAGMA secure_delete = ON",
)
FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Database:
    """Hands out transactions on one file to any thread of any number of processes."""

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        # SQLite's own waiting is unfair; within one process writers queue here instead.
        self._writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give one consistent view of the file for the time of the block."""
        with _mapped_errors(), self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block does, durably, when it ends; roll it back when it raises."""
        if not self._writer.acquire(timeout=self._busy_timeout_s):
            raise StoreUnavailable("the store is busy with other writes")
        try:
            with _mapped_errors(), self._transaction("BEGIN IMMEDIATE") as connection:
                yield connection
        finally:
            self._writer.release()

    def empty_wal(self, *, within_s: float) -> bool:
        """Move all commits to the file itself and empty the WAL; say whether that could be done.

        It waits for readers and writers between tries alone: within one it would hold up writers.
        """
        end = time.monotonic() + within_s
        with _mapped_errors(), self._borrowed() as connection:
            connection.execute("PRAGMA busy_timeout = 0").close()
            while not (is_empty := _is_emptied(connection)) and time.monotonic() < end:
                time.sleep(PAUSE_S)
            connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout_s * 1_000:.0f}").close()
        return is_empty

    def close(self) -> None:
        """Close every connection as soon as its transaction is over."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._borrowed() as connection:
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        connection = self._take()
        try:
            yield connection
        except BaseException:
            # Closing rolls back, and no connection is used again after an error.
            connection.close()
            raise
        self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise StoreUnavailable("the store is closed")
            if self._idle:
                return self._idle.pop()
        return self._connected()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in PRAGMAS:
                _patiently(connection, pragma)
        except BaseException:
            connection.close()
            raise
        return connection


def as_store_error(error: sqlite3.Error) -> StoreError:
    """Translate SQLite's error; the message never holds values of a statement."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in FULL:
        return StoreFull(f"SQLite cannot write: {error}")
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaUnknown("the file is no SQLite database: name another file for the store")
    return StoreUnavailable(f"SQLite: {error}")


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise as_store_error(error) from error


def _is_emptied(connection: sqlite3.Connection) -> bool:
    is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _patiently(connection: sqlite3.Connection, pragma: str, tries: int = 40) -> None:
    """Try again where another process is just turning the same new file to WAL.

    SQLite answers "locked" at once there instead of waiting for the busy timeout.
    """
    for _ in range(tries):
        with suppress(sqlite3.OperationalError):
            connection.execute(pragma).close()
            return
        time.sleep(0.05)
    connection.execute(pragma).close()
