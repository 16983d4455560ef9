"""Keep snapshots on disk, so that a process is ready at once, with or without its store.

    <folder>/lock               held by the one process that writes
    <folder>/key                the key of cursors, then its sha256; for the owner alone
    <folder>/<number>/          a snapshot; the two newest are kept
        manifest.json           its own sha256 on the first line, those of the other files below
        vectors, logits, ...    arrays, row by row

A snapshot is written under a name of its own, flushed to the disk, and renamed: it is there whole
or not at all. What is damaged all the same is passed over for the one before it.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import structlog
from numpy.typing import NDArray

from contract.bundle import FileEntry
from contract.durable import sync, write_through
from service.lexicon import Lexicon
from service.ports import Activation, Position
from service.saved import Blocks, Manifest, Saved, as_bytes, contents, restored

KEPT: Final = 2
LOOK_S: Final = 1.0
LOCK, KEY, MANIFEST, UNFINISHED = "lock", "key", "manifest.json", "unfinished"
PRIVATE: Final = 0o600
HASH_BYTES: Final = hashlib.sha256().digest_size
# What reading files can raise that are sound by their hashes and not ours by their contents.
UNREADABLE: Final = (OSError, ValueError, TypeError, MemoryError)

log = structlog.get_logger()


class Keeper:
    """Reads and writes the snapshots of one model and one store in a folder of their own.

    `load` comes before anything else brings words to the `lexicon`; a snapshot of another model
    than that of `activation` is refused.
    """

    def __init__(self, folder: Path, activation: Activation, dim: int, lexicon: Lexicon) -> None:
        self._folder = folder
        self._space = (activation.model, activation.namespace, dim)
        self._lexicon = lexicon
        self._lock: int | None = None
        self._newest: tuple[Position, int] | None = None

    def load(self, room: int) -> Saved | None:
        """Return the newest snapshot that is whole, with room for more rows; None without one."""
        for number in sorted(self._numbers(), reverse=True):
            started = time.perf_counter()
            try:
                saved, words = self._read(self._folder / str(number), room)
            except UNREADABLE as error:
                log.warning("snapshot_refused", number=number, error=_in_words(error))
                continue
            self._lexicon.restore(words)
            self._newest = saved.position, saved.revision
            log.info("snapshot_loaded", number=number, seconds=_since(started))
            return saved
        return None

    def save(self, saved: Saved) -> bool:
        """Write a snapshot; say whether it is there now.

        It is not where nothing was written since the last one, or another process writes them.
        Raise OSError where the folder cannot be written.
        """
        state = saved.position, saved.revision
        started, numbers = time.perf_counter(), sorted(self._numbers())
        if (numbers and state == self._newest) or not self._is_writer():
            return False
        number = numbers[-1] + 1 if numbers else 1
        self._write(saved, self._folder / str(number))
        self._newest = state
        for old in [*numbers, number][:-KEPT]:
            shutil.rmtree(self._folder / str(old), ignore_errors=True)
        log.info("snapshot_saved", number=number, seconds=_since(started))
        return True

    def key(self) -> bytes | None:
        """Return the key that was kept, None without a whole one."""
        with suppress(OSError):
            raw = (self._folder / KEY).read_bytes()
            key, digest = raw[:-HASH_BYTES], raw[-HASH_BYTES:]
            if key and hashlib.sha256(key).digest() == digest:
                return key
        return None

    def keep_key(self, key: bytes) -> None:
        """Keep a key, readable by this user alone; without a place for it, only say so."""
        if key == self.key():
            return
        # Another process may keep the same key at the same time.
        temporary = self._folder / f"{KEY}.{token_hex(4)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(temporary, [key, hashlib.sha256(key).digest()])
            temporary.rename(self._folder / KEY)
            sync(self._folder)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            log.warning("key_not_kept", error=_in_words(error))

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _numbers(self) -> list[int]:
        with suppress(OSError):
            return [int(found.name) for found in self._folder.iterdir() if found.name.isdecimal()]
        return []

    def _is_writer(self) -> bool:
        path = self._folder / LOCK
        if self._lock is not None and not _is_file_at(self._lock, path):
            # The folder was deleted: in the one that takes its place another process may write.
            self.close()
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
        return self._lock is not None

    def _write(self, saved: Saved, target: Path) -> None:
        unfinished = self._folder / UNFINISHED
        if unfinished.exists():
            shutil.rmtree(unfinished)
        try:
            self._fill(unfinished, saved)
            unfinished.rename(target)
        except BaseException:
            # A disk that is full would stay full.
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync(self._folder)

    def _fill(self, folder: Path, saved: Saved) -> None:
        folder.mkdir(parents=True)
        parts = contents(saved, self._lexicon.known())
        entries = {name: _write(folder / name, blocks) for name, blocks in parts}
        body = Manifest.of(saved, entries).model_dump_json().encode()
        _write(folder / MANIFEST, [_hash_line(body), body])
        sync(folder)

    def _read(self, path: Path, room: int) -> tuple[Saved, list[str]]:
        head, _, body = (path / MANIFEST).read_bytes().partition(b"\n")
        if head + b"\n" != _hash_line(body):
            raise ValueError(f"{MANIFEST} was altered")
        manifest = Manifest.model_validate_json(body)
        if (manifest.model, manifest.namespace, manifest.dim) != self._space:
            raise ValueError("the snapshot is of another model")
        return restored(manifest, _Folder(path, manifest.files), room)


class Saver:
    """Saves what `take` gives, now and then, until cancelled; `take` gives None for not now."""

    def __init__(
        self,
        keeper: Keeper,
        take: Callable[[], Saved | None],
        executor: Executor,
        *,
        interval_s: float,
    ) -> None:
        self._keeper = keeper
        self._take = take
        self._executor = executor
        self._interval_s = interval_s

    async def run(self) -> None:
        """Save at once, and then whatever has changed after each interval."""
        while True:
            # A call of its own: what was taken is let go of before the pause.
            pause = await self._save()
            await asyncio.sleep(pause)

    async def _save(self) -> float:
        try:
            # Not where large work takes turns: a look that finds nothing leaves nothing to tidy up.
            saved = await asyncio.to_thread(self._take)
            if saved is None:
                return min(LOOK_S, self._interval_s)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._keeper.save, saved)
        except Exception as error:  # noqa: BLE001 - none of them is a reason to save no more
            log.warning("snapshot_not_saved", error=_in_words(error))
        return self._interval_s


class _Folder:
    """The files of one snapshot; each is held to the manifest's size and hash."""

    def __init__(self, path: Path, entries: dict[str, FileEntry]) -> None:
        self._path = path
        self._entries = entries

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        path = self._sized(name, self._entry(name).size)
        raw = path.read_bytes()
        self._require_hash(name, raw)
        return raw

    def fill(self, name: str, array: NDArray[Any]) -> None:
        """Read a file of just its size into an array."""
        target, done = as_bytes(array), 0
        with self._sized(name, array.nbytes).open("rb", buffering=0) as file:
            # A single read gives 2 GB at most.
            while read := file.readinto(target[done:]):
                done += read
        self._require_hash(name, target)

    def _entry(self, name: str) -> FileEntry:
        if name not in self._entries:
            raise ValueError(f"{name} is not in the manifest")
        return self._entries[name]

    def _sized(self, name: str, size: int) -> Path:
        path = self._path / name
        # Before anything is read: nothing larger than what was written is.
        if not size == self._entry(name).size == path.stat().st_size:
            raise ValueError(f"{name} is of another size")
        return path

    def _require_hash(self, name: str, raw: bytes | memoryview) -> None:
        if hashlib.sha256(raw).hexdigest() != self._entry(name).sha256:
            raise ValueError(f"{name} was altered")


def _write(path: Path, blocks: Blocks) -> FileEntry:
    """Write a new file, for the owner alone, through to the disk."""
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes | memoryview]:
        for block in blocks:
            digest.update(block)
            yield block

    size = write_through(path, hashed(), mode=PRIVATE)
    return FileEntry(sha256=digest.hexdigest(), size=size)


def _locked(path: Path) -> int | None:
    """Open a file and lock it; None where another process holds the lock."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_file_at(lock, path):
            return lock
    except BlockingIOError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _is_file_at(descriptor: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _hash_line(body: bytes) -> bytes:
    return f"{hashlib.sha256(body).hexdigest()}\n".encode()


def _in_words(error: BaseException) -> str:
    # An error of the system without the path, which says where things are.
    reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
    return f"{type(error).__name__}: {reason}"


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)
