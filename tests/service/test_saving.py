"""Snapshots on disk: all that was served, written by one process, and never half there."""

import errno
import fcntl
import os
import resource
import shutil
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from service import saved as saved_files
from service.columns import Columns, Facts
from service.criteria import Criteria
from service.id_table import ABSENT
from service.lexicon import Lexicon
from service.saving import KEPT, KEY, LOCK, UNFINISHED, Keeper
from service.snapshot import Snapshot
from tests.builders import an_article
from tests.service.fakes import (
    ACTIVATION,
    DIM,
    NOW,
    NumpyIndexes,
    a_catalogue_with,
    a_stored,
)
from tests.service.snapshots import (
    POSITION,
    a_catalogue,
    a_keeper,
    a_state,
    a_writer,
    loaded,
    write,
)

HOLDER = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_what_was_saved_is_gone_on_from(folder: Path) -> None:
    """Articles, vectors, times, words, popularity, activation, and who waits for a vector."""
    lexicon = Lexicon()
    old = a_catalogue(lexicon)
    Keeper(folder, ACTIVATION, DIM, lexicon).save(old.saved(POSITION, 3))
    catalogue, lexicon, saved = loaded(folder)
    assert (saved.position, saved.revision, catalogue.lacking()) == (POSITION, 3, ["N9"])
    assert catalogue.current.activation == ACTIVATION
    assert told(catalogue.current) == told(old.current)
    snapshot = catalogue.current
    assert snapshot.eligible(Criteria(topics=frozenset({"health"})), NOW).sum() == 1
    (row,) = snapshot.rows(["N3"])
    assert snapshot.columns.terms[row] == lexicon.codes("Rain tomorrow").tobytes()


def test_rows_are_written_a_few_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one part of them is as good as one."""
    lexicon = Lexicon()
    old = a_catalogue(lexicon)
    monkeypatch.setattr(saved_files, "ROWS_AT_ONCE", 2)
    Keeper(folder, ACTIVATION, DIM, lexicon).save(old.saved(POSITION, 3))
    assert told(loaded(folder)[0].current) == told(old.current)


def test_of_a_large_matrix_no_second_one_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are gathered and written a few at a time."""
    count, dim = 2_048, 1_024
    columns, facts = Columns.empty(count, dim), Facts.of(an_article(), 1)
    for _ in range(count):
        columns.describe(facts, b"")
    rows, popularity = np.arange(count), np.zeros(count)
    saved = replace(a_state(), columns=columns, rows=rows, popularity=popularity)
    monkeypatch.setattr(saved_files, "ROWS_AT_ONCE", 64)
    tracemalloc.start()
    try:
        assert a_writer(folder).save(saved)
        assert tracemalloc.get_traced_memory()[1] < columns.vectors.nbytes / 2
    finally:
        tracemalloc.stop()


def test_files_are_durable_before_they_have_their_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file and the directory are synced, then renamed, then the parent; a key likewise."""
    events, rename, keeper = list[str](), os.rename, a_writer(folder)

    def note_name(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".")[0])

    monkeypatch.setattr(os, "fsync", note_name)
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), rename(a, b)))
    keeper.save(a_state())
    files = {path.name.partition(".")[0] for path in (folder / "1").iterdir()}
    assert sorted(events[: len(files)]) == sorted(files)
    assert events[len(files) - 1 :] == ["manifest", UNFINISHED, "rename", folder.name]
    events.clear()
    keeper.keep_key(b"k" * 32)
    assert events == [KEY, "rename", folder.name]


def test_a_restored_catalogue_goes_on_as_any_other(folder: Path) -> None:
    """Old versions are no news, new ones are; vectors that were waited for are taken."""
    write(folder, a_state())
    catalogue, _, _ = loaded(folder, indexes=NumpyIndexes())
    snapshot = catalogue.current
    assert snapshot.index is not None
    assert snapshot.index.size == snapshot.count == 3
    assert catalogue.apply([a_stored("N1"), a_stored("N2", version=2)], NOW) == 0
    assert catalogue.fill([a_stored("N9", version=4)], NOW) == 1
    assert catalogue.apply([a_stored("N1", version=2, title="Newer")], NOW) == 1
    assert catalogue.current.size == 4
    assert catalogue.lacking() == []
    assert catalogue.current.popularity[catalogue.current.row("N1")] == 0.5


def test_nothing_of_what_was_taken_down_or_replaced_is_written(folder: Path) -> None:
    """Neither its text nor a word that it alone has."""
    write(folder, a_state())
    written = b"".join(path.read_bytes() for path in (folder / "1").iterdir()).lower()
    assert b"rain tomorrow" in written
    assert b"secret" not in written
    assert b"older" not in written


def test_an_empty_catalogue_is_kept_as_well(folder: Path) -> None:
    """There is nothing in it, and it is as of a position."""
    write(folder, a_catalogue_with().saved(POSITION, 0))
    catalogue, _, saved = loaded(folder)
    assert (catalogue.current.size, saved.position) == (0, POSITION)


def test_what_was_half_written_is_no_snapshot(folder: Path) -> None:
    """A kill in the middle leaves a folder that nobody reads, and the next one writes anew."""
    write(folder, a_state(("birth", "1")))
    shutil.copytree(folder / "1", folder / UNFINISHED)
    assert loaded(folder)[2].position == ("birth", "1")
    keeper = a_writer(folder)
    assert keeper.save(a_state(("birth", "2")))
    assert names(folder) == ["1", "2", LOCK]


def test_a_full_disk_leaves_the_last_snapshot_as_it_is(folder: Path) -> None:
    """The error is the writer's; what could be read before can be read after."""
    keeper = a_writer(folder)
    keeper.save(a_state(("birth", "1")))
    with no_file_above(64), pytest.raises(OSError, match="large"):
        keeper.save(a_state(("birth", "2")))
    assert names(folder) == ["1", LOCK]
    assert loaded(folder)[2].position == ("birth", "1")
    assert keeper.save(a_state(("birth", "2")))
    assert loaded(folder)[2].position == ("birth", "2")


def test_the_newest_are_kept(folder: Path) -> None:
    """Two of them; numbers grow, and are numbers."""
    keeper = a_writer(folder)
    for place in range(12):
        assert keeper.save(a_state(("birth", str(place))))
    kept = {path.name for path in folder.iterdir() if path.is_dir()}
    assert kept == {str(number) for number in range(13 - KEPT, 13)}
    assert loaded(folder)[2].position == ("birth", "11")


def test_what_has_not_changed_is_not_written_again(folder: Path) -> None:
    """Neither by who wrote it nor by who went on from it; a new table of popularity is a change."""
    keeper = a_writer(folder)
    assert [keeper.save(a_state()), keeper.save(a_state())] == [True, False]
    keeper.close()
    heir = a_keeper(folder)
    saved = heir.load(room=0)
    assert saved is not None
    assert not heir.save(saved)
    assert heir.save(replace(saved, revision=1))


def test_one_process_writes(folder: Path) -> None:
    """All read; when the writer has gone another one takes its place."""
    first, second = a_writer(folder), a_writer(folder)
    assert first.save(a_state(("birth", "1")))
    assert not second.save(a_state(("birth", "2")))
    assert a_keeper(folder).load(room=0) is not None
    first.close()
    assert second.save(a_state(("birth", "2")))
    assert not first.save(a_state(("birth", "3")))


def test_a_deleted_folder_does_not_leave_two_writers(folder: Path) -> None:
    """Who holds the lock of a file that is gone holds nothing, and writes no more beside others."""
    first, second = a_writer(folder), a_writer(folder)
    assert first.save(a_state(("birth", "1")))
    shutil.rmtree(folder)
    assert second.save(a_state(("birth", "2")))
    assert not first.save(a_state(("birth", "3")))
    second.close()
    assert first.save(a_state(("birth", "3")))
    assert loaded(folder)[2].position == ("birth", "3")


def test_what_was_deleted_is_written_again(folder: Path) -> None:
    """Also where nothing has changed since."""
    keeper = a_writer(folder)
    for _ in range(2):
        assert keeper.save(a_state())
        shutil.rmtree(folder)


def test_a_folder_without_locks_is_an_error_and_leaks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some file systems of a network, once each interval."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    keeper, before = a_writer(folder), descriptors()
    for _ in range(3):
        with pytest.raises(OSError, match="no locks"):
            keeper.save(a_state())
    assert descriptors() == before


def test_a_writer_that_was_killed_is_succeeded(folder: Path) -> None:
    """The system lets go of its lock."""
    folder.mkdir()
    (folder / LOCK).touch()
    command = [sys.executable, "-c", HOLDER, str(folder / LOCK)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == b"held\n"
        assert not a_writer(folder).save(a_state())
        holder.kill()
    write(folder, a_state())


def test_snapshots_are_for_their_owner_alone(folder: Path) -> None:
    """Articles under embargo are in them."""
    keeper = a_writer(folder)
    keeper.save(a_state())
    keeper.keep_key(b"k" * 32)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_key_is_kept(folder: Path) -> None:
    """A later process has it without a store; another key takes its place."""
    assert a_keeper(folder).key() is None
    for key in (b"a" * 32, b"a" * 32, b"b" * 32):
        a_keeper(folder).keep_key(key)
        assert a_keeper(folder).key() == key
    assert [path.name for path in folder.iterdir()] == [KEY]


def test_a_key_that_cannot_be_kept_is_no_reason_to_fail(blocked_folder: Path) -> None:
    """It is said without the place."""
    with capture_logs() as events:
        a_keeper(blocked_folder).keep_key(b"a" * 32)
    assert [event["event"] for event in events] == ["key_not_kept"]
    assert str(blocked_folder) not in str(events)


def test_a_key_for_which_there_is_no_room_leaves_nothing(folder: Path) -> None:
    """Half a key is no key, and takes room."""
    with capture_logs(), no_file_above(40):
        a_keeper(folder).keep_key(b"a" * 32)
    assert names(folder) == []


def descriptors() -> int:
    """Count the files that this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def names(folder: Path) -> list[str]:
    """Return what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def told(snapshot: Snapshot) -> dict[str, tuple[object, ...]]:
    """Return all that a snapshot knows of each article but its words' codes."""
    rows = {f.id: snapshot.row(f.id) for f in snapshot.columns.facts}
    return {i: _of_row(snapshot.columns, snapshot, r) for i, r in rows.items() if r != ABSENT}


def _of_row(columns: Columns, snapshot: Snapshot, row: int) -> tuple[object, ...]:
    numbers = [array[row].tobytes() for array in columns.numbers().values()]
    return (columns.facts[row], len(columns.terms[row]), snapshot.popularity[row], *numbers)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Refuse to write files of more bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
