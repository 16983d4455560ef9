"""DELETE /v1/users/{id}: nothing of the reader is left in any key, row or file; others keep theirs.

All is searched for the id, the pseudonym and the ids of the events, as they are and as hex. Redis
keeps old commands in its append-only file until that is rewritten, so the test has it rewritten.
What a process has in its memory, and disk blocks that no file has any more, are not searched.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from service.adapters.stores import open_store
from service.decay import Decay
from service.pseudonyms import Pseudonyms
from tests.builders import a_catalogue
from tests.redis_server import RedisServer, client
from tests.serving import Service, ids_of, serving
from tests.waiting import wait_until

ERASED, OTHER = "Quagga-7741@zebra.example", "Okapi-2290@forest.example"
# Files that tell: nothing in them is compressed.
OPTIONS = ("--appendonly", "yes", "--rdbcompression", "no", "--aof-use-rdb-preamble", "no")
SNAPSHOT_S = 0.2
WRITES = 12
Found = dict[str, list[str]]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that has its data in files too."""
    server = RedisServer(tmp_path / "redis", *OPTIONS)
    yield server
    server.kill()


def test_nothing_is_left_of_an_erased_reader(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """What finds everything before the erasure finds nothing after it."""
    with serving(
        tiny_bundle,
        store,
        tmp_path / "log",
        snapshots=tmp_path / "snapshots",
        snapshot_interval_s=SNAPSHOT_S,
    ) as service:
        publish(service)
        for reader in (ERASED, OTHER):
            live_with(service, reader)
        erased, other = needles(store, ERASED), needles(store, OTHER)
        before = searched(store, tmp_path, {**erased, **other})
        for one in (erased, other):
            check_kept(before, one)
        kept = told(service, OTHER)
        counted = clicks(store)

        erase(service, ERASED)
        assert service.client.get(f"/v1/users/{ERASED}").status_code == 404
        # Snapshots are saved after it, too.
        saved = newest(tmp_path)
        publish(service)
        wait_until(lambda: newest(tmp_path) > saved)
        rewrite(store)

        after = searched(store, tmp_path, {**erased, **other})
        assert {needle: after[needle] for needle in erased} == {needle: [] for needle in erased}
        check_kept(after, other)
        assert told(service, OTHER) == kept
        assert clicks(store) == counted, "what was clicked is no part of the reader"
    ended = searched(store, tmp_path, erased)
    assert ended == {needle: [] for needle in erased}


def test_redis_keeps_old_commands_until_its_file_is_rewritten(
    own_redis: RedisServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    """So operators rewrite it (docs/operations.md); the keys themselves are gone at once."""
    url = own_redis.url
    with serving(tiny_bundle, url, tmp_path / "log") as service:
        publish(service)
        live_with(service, ERASED)
        erased = needles(url, ERASED)
        erase(service, ERASED)
        places = {place for found in searched(url, tmp_path, erased).values() for place in found}
        assert {place.partition("/")[0] for place in places} == {"file redis"}
        rewrite(url)
        assert not any(searched(url, tmp_path, erased).values())


def publish(service: Service) -> None:
    """Publish articles; those that are there change."""
    for article in a_catalogue(12):
        title = f"{article.title} {datetime.now(UTC).timestamp()}"
        body = {"title": title, "topic": article.topic}
        assert service.client.put(f"/v1/news/{article.id}", json=body).status_code == 200


def live_with(service: Service, reader: str) -> None:
    """Read for a while: pages with cursors, and feedback on them, many times over."""
    for number in range(WRITES):
        page = recommended(service, reader)
        events = events_of(reader, number, page)
        answer = service.client.post("/v1/feedback", json=events)
        assert answer.json() == {"accepted": len(events), "duplicates": 0, "rejected": []}
        again = service.client.post("/v1/feedback", json=events)
        assert again.json()["duplicates"] == len(events)
    assert service.client.get(f"/v1/users/{reader}").status_code == 200


def erase(service: Service, reader: str) -> None:
    """Erase a reader of whom there is something."""
    answer = service.client.delete(f"/v1/users/{reader}")
    assert (answer.status_code, answer.json()) == (200, {"erased": True})


def recommended(service: Service, reader: str) -> list[str]:
    """Ask for two pages; return the articles of the first."""
    body = {"user_id": reader, "n": 2, "exclude_seen": False}
    first = service.client.post("/v1/recommendations", json=body)
    cursor = first.json()["next_cursor"]
    if cursor is not None:
        ids_of(service.client.post("/v1/recommendations", json={**body, "cursor": cursor}))
    return ids_of(first)


def events_of(reader: str, number: int, shown: list[str]) -> list[dict[str, Any]]:
    """Make one event of each kind."""
    shown = shown or ["N0"]
    at = datetime.now(UTC).isoformat()
    base = {"user_id": reader, "at": at, "request_id": event_id(reader, number, "request")}
    impression = {"event_id": event_id(reader, number, "impression"), "items": shown}
    actions = [("click", shown[0]), ("read", shown[-1]), ("hide", "N11")]
    return [
        {"type": "impression", **impression, **base},
        *(
            {"type": type_, "event_id": event_id(reader, number, type_), "news_id": i, **base}
            for type_, i in actions
        ),
    ]


def event_id(reader: str, number: int, type_: str) -> str:
    """Name an event as no other reader's is named, and without the reader's id in it."""
    return f"{reader[:3].lower()}{len(reader)}.{number}.{type_}.e"


def needles(url: str, reader: str) -> dict[bytes, str]:
    """Return what to search for: bytes, and what they are."""
    store = open_store(url)
    pseudonym = Pseudonyms(lambda: store.secret("reader")).of(reader)
    store.close()
    events = [
        event_id(reader, number, type_)
        for number in range(WRITES)
        for type_ in ("impression", "click", "read", "hide", "request")
    ]
    plain = {reader: "id", pseudonym: "pseudonym", **dict.fromkeys(events, "event")}
    as_hex = {word.encode().hex(): f"{what} as hex" for word, what in plain.items()}
    found = {word.encode(): what for word, what in {**plain, **as_hex}.items()}
    quoted = reader.replace("@", "%40").encode()
    return {**found, quoted: "id", bytes.fromhex(pseudonym): "pseudonym as bytes"}


def check_kept(found: dict[bytes, list[str]], reader: dict[bytes, str]) -> None:
    """Fail unless pseudonym and events of a reader are found in the store, and the id nowhere."""
    in_files = Counter[str]()
    for needle, what in reader.items():
        in_store = [place for place in found[needle] if not place.startswith("file")]
        if what in ("pseudonym", "event"):
            assert in_store, f"{what} {needle!r} is not found where it must be"
            in_files[what] += any(place.startswith("file") for place in found[needle])
        else:
            assert not found[needle], f"{what} is in {found[needle]}"
    assert in_files["pseudonym"] == 1
    # Now and then the end of a page parts one.
    assert in_files["event"] > 0.9 * sum(what == "event" for what in reader.values())


def told(service: Service, reader: str) -> object:
    """Return all that the service tells of a reader."""
    answer = service.client.get(f"/v1/users/{reader}")
    assert answer.status_code == 200
    return answer.json()


def clicks(url: str) -> dict[str, float]:
    """Return the sums of clicks in the store."""
    store = open_store(url)
    spans = Decay(24 * 3_600.0).live(datetime.now(UTC).timestamp())
    sums = {i: sum_ for of in store.clicks(spans, ()).sums.values() for i, sum_ in of.items()}
    store.close()
    return sums


def newest(folder: Path) -> int:
    """Return the number of the snapshot saved last."""
    # As it is saved, a folder may go while it is looked into.
    walk = os.walk(folder / "snapshots")
    names = (name for _, folders, files in walk for name in (*folders, *files))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def rewrite(url: str) -> None:
    """Have Redis write its append-only file and its dump anew."""
    if not url.startswith("redis"):
        return
    with connected(url) as server:
        server.bgrewriteaof()
        wait_until(lambda: not server.info("persistence")["aof_rewrite_in_progress"])
        server.save()


def searched(url: str, folder: Path, wanted: dict[bytes, str]) -> dict[bytes, list[str]]:
    """Return where each of the needles is: keys and values, rows, files."""
    found: dict[bytes, list[str]] = {needle: [] for needle in wanted}
    values = redis_values if url.startswith("redis") else sqlite_values
    for where, raw in (*values(url), *file_values(folder)):
        for needle in wanted:
            if needle in raw:
                found[needle].append(where)
    return found


def redis_values(url: str) -> Iterator[tuple[str, bytes]]:
    """Read every key of a Redis with its whole value, whatever its type."""
    with connected(url) as server:
        reads: dict[object, Callable[[bytes], Any]] = {
            b"string": server.get,
            b"hash": server.hgetall,
            b"list": lambda key: server.lrange(key, 0, -1),
            b"set": server.smembers,
            b"zset": lambda key: server.zrange(key, 0, -1),
            b"stream": server.xrange,
        }
        for key in server.scan_iter():
            yield "key", key
            yield f"value of {key!r}"[:16], flat(reads[server.type(key)](key))


def sqlite_values(url: str) -> Iterator[tuple[str, bytes]]:
    """Read every value of every row of every table."""
    db = sqlite3.connect(url.removeprefix("sqlite:///"))
    db.text_factory = bytes
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for name in (raw.decode() for (raw,) in names):
        for row in db.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 (its own names)
            yield f"table {name}", flat(list(row))
    db.close()


def file_values(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Read every file: store, write-ahead log, shared memory, snapshots, logs, Redis' own."""
    for path in sorted(Path(at, name) for at, _, files in os.walk(folder) for name in files):
        with suppress(FileNotFoundError):  # a snapshot that was being saved has another name now
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def flat(value: object) -> bytes:
    """Join whatever a store returns to bytes, part by part."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"\0".join(flat(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return b"\0".join(map(flat, value))
    return str(value).encode()


@contextmanager
def connected(url: str) -> Iterator["redis.Redis"]:
    """Connect to the Redis of a URL."""
    with client(int(url.rpartition(":")[2].partition("/")[0])) as server:
        yield server
