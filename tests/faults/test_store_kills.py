"""What was acknowledged survives `kill -9` of the writing process and of Redis, and is whole."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from contract.text import fingerprint
from service.ports import Position, Store
from tests.faults.publishing import SHARED, WRITERS, Note, publish_until_killed, read_notes
from tests.redis_server import RedisServer
from tests.stores import SPACE, a_publication, a_vector, durable_store, put, scanned
from tests.waiting import wait_until

# Of the rounds, at least so many must have hit that many writers in the midst of a call.
SHARE_IN_FLIGHT, SURELY_IN_FLIGHT = 0.8, 4
LONGEST_LIFE_S = 0.15
AOF = ("--appendonly", "yes", "--appendfsync", "always")

rounds = pytest.mark.parametrize("rounds", [10, pytest.param(50, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Start writing processes quickly: the imports are done once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.publishing"])
    return context


@rounds
def test_a_killed_writer_loses_nothing_acknowledged(
    processes: ForkServerContext, store: str, tmp_path: Path, rounds: int
) -> None:
    """Each round kills a process that publishes from eight threads, at a seeded random moment."""
    hits = 0
    for number in range(rounds):
        since, writer, folder = _start(processes, store, tmp_path, number)
        killed_ns = time.monotonic_ns()
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        hits += _is_hit(read_notes(folder), killed_ns)
        _check(store, since, read_notes(folder))
    assert hits >= SHARE_IN_FLIGHT * rounds


@rounds
def test_a_killed_redis_loses_nothing_acknowledged(
    processes: ForkServerContext, durable_redis: RedisServer, tmp_path: Path, rounds: int
) -> None:
    """Each round kills redis-server under eight writers, at a seeded random moment."""
    hits = 0
    for number in range(rounds):
        since, writer, folder = _start(processes, durable_redis.url, tmp_path, number)
        killed_ns = time.monotonic_ns()
        durable_redis.kill()
        writer.join()
        assert writer.exitcode == 0
        durable_redis.start()
        hits += _is_hit(read_notes(folder), killed_ns)
        _check(durable_redis.url, since, read_notes(folder))
    assert hits >= SHARE_IN_FLIGHT * rounds


def test_a_lost_acknowledgement_would_be_seen(tmp_path: Path) -> None:
    """The check of this file fails on a store that lost a write, its vector or its notice."""
    url = f"sqlite:///{tmp_path}/store.sqlite"
    store = durable_store(url)
    since = store.position()
    put(store, a_publication("N1", "one"), a_publication(SHARED, "one"))
    good = Note("+", 0, "N1", 1, 1)
    _check(url, since, [[good]])
    for lost in (Note("+", 0, "N1", 2, 1), Note("+", 0, "N1", 1, 2), Note("+", 0, "N2", 1, 1)):
        with pytest.raises((AssertionError, KeyError)):
            _check(url, since, [[good, lost]])
    with pytest.raises(AssertionError):
        _check(url, store.position(), [[good]])
    put(store, a_publication("N1", "two", has_vector=False))
    with pytest.raises(AssertionError):
        _check(url, since, [[good]])
    store.close()


def _start(
    processes: ForkServerContext, url: str, folder: Path, number: int
) -> tuple[Position, BaseProcess, Path]:
    """Let a process write for a random time; return the log's end before, it and its notes."""
    notes = folder / f"notes-{number}"
    notes.mkdir()
    store = durable_store(url)
    since = store.position()
    store.close()
    writer = processes.Process(target=publish_until_killed, args=(url, notes, f"R{number}"))
    writer.start()
    wait_until(lambda: _have_begun(notes))
    time.sleep(random.Random(number).uniform(0, LONGEST_LIFE_S))
    return since, writer, notes


def _have_begun(folder: Path) -> bool:
    return len([path for path in folder.iterdir() if path.stat().st_size > 0]) == WRITERS


def _is_hit(notes: list[list[Note]], killed_ns: int) -> bool:
    """Say whether enough writers were in the midst of a call at the time of the kill."""
    before = [[note for note in own if note.time_ns < killed_ns] for own in notes]
    return sum(bool(own) and own[-1].mark == "?" for own in before) >= SURELY_IN_FLIGHT


def _check(url: str, since: Position, notes: list[list[Note]]) -> None:
    """Find every acknowledged version or a later one, announced, and every article whole."""
    acknowledged = [note for own in notes for note in own if note.mark == "+"]
    store = durable_store(url)
    try:
        found = scanned(store)
        for note in acknowledged:
            assert found[note.id].version >= note.version
            assert found[SHARED].version >= note.shared_version
        assert {note.id for note in acknowledged} <= _announced(store, since)
        for stored in found.values():
            assert stored.article is not None
            assert stored.fingerprint == fingerprint(stored.article.title)
            np.testing.assert_array_equal(stored.vector, a_vector(stored.article.title))
        assert store.fetch(list(found), namespace=SPACE).keys() == found.keys()
    finally:
        store.close()


def _announced(store: Store, position: Position) -> set[str]:
    told: set[str] = set()
    while True:
        changes = store.changes(position)
        assert changes.is_complete
        if not changes.ids:
            return told
        told, position = told | set(changes.ids), changes.position
