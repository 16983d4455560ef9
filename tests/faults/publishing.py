"""A process that publishes from several threads until it is killed, and notes what it knows."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from service.errors import StoreError
from service.ports import Store
from tests.stores import a_publication, durable_store, put

WRITERS = 8
IDS_PER_WRITER = 20
SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a writer: "?" before a call, "+" after an acknowledgement, "-" after an error.

    The time is monotonic, which all processes of a machine share.
    """

    mark: str
    time_ns: int
    id: str
    version: int
    shared_version: int


def publish_until_killed(url: str, folder: Path, round_name: str) -> None:
    """Publish from `WRITERS` threads, each with a file of notes in a folder, until an error."""
    store = durable_store(url)
    writers = [
        threading.Thread(target=_write, args=(store, folder / f"{i}", f"{round_name}-{i}"))
        for i in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store.close()


def read_notes(folder: Path) -> list[list[Note]]:
    """Read what each writer noted, oldest first; a line cut short by the kill was not written."""
    return [_parsed((folder / f"{i}").read_text()) for i in range(WRITERS)]


def _write(store: Store, path: Path, name: str) -> None:
    notes = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    done = ""
    for number in range(1_000_000):
        article_id = f"{name}-{number % IDS_PER_WRITER}"
        batch = [a_publication(i, f"{name} {number}") for i in (article_id, SHARED)]
        # One write for the end of a call and the begin of the next: no gap between the two.
        os.write(notes, f"{done}? {time.monotonic_ns()} {article_id} 0 0\n".encode())
        try:
            versions = put(store, *batch)
        except StoreError:
            os.write(notes, f"- {time.monotonic_ns()} {article_id} 0 0\n".encode())
            return
        done = f"+ {time.monotonic_ns()} {article_id} {versions[0]} {versions[1]}\n"


def _parsed(text: str) -> list[Note]:
    lines = [line.split() for line in text.splitlines()]
    return [Note(mark, int(t), i, int(v), int(s)) for mark, t, i, v, s in lines]
