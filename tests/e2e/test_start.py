"""A service starts from a saved snapshot: at once, with nothing lost, with or without its store."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.catalogues import fill_with_made_up, made_up_requests
from contract.bundle import open_bundle
from service.adapters.stores import open_store
from tests.builders import a_catalogue
from tests.problem_shape import check_log
from tests.redis_server import RedisServer
from tests.serving import Service, degraded, ids_of, resident_bytes, serving
from tests.waiting import wait_until

PATIENCE_S = 10.0
OFTEN = {"snapshot_interval_s": 0.1}
ARTICLES, SEED = 65_000, 11
READY_S, RSS_BYTES = 4.0, 450 * 10**6
# Wall time on a machine that does other things as well; the time on its cores has no such excuse.
SLACK = 8.0


def test_what_happened_while_it_was_off_is_there_when_it_is_ready(
    store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Killed, and started from its snapshot: taken down is gone, published and changed is there."""
    kept = {"snapshots": tmp_path / "kept", **OFTEN}
    with serving(tiny_bundle, store, tmp_path / "first", **kept) as service:
        publish(service, 8)
        wait_until(lambda: saved_articles(tmp_path / "kept") == 8, PATIENCE_S)
    with serving(tiny_bundle, store, tmp_path / "other") as other:
        assert other.client.delete("/v1/news/N1").status_code == 200
        for changed in ("N2", "N9"):
            body = {"title": f"While it was off {changed}"}
            assert other.client.put(f"/v1/news/{changed}", json=body).status_code == 200
    with serving(tiny_bundle, store, tmp_path / "second", **kept) as service:
        asked = {"n": 50, "collapse": False, "include": "title"}
        answer = service.client.get("/v1/latest", params=asked)
        titles = {one["id"]: one["title"] for one in answer.json()["items"]}
        assert titles.keys() == {"N0", "N2", "N3", "N4", "N5", "N6", "N7", "N9"}
        assert titles["N2"] == "While it was off N2"
        assert answer.json()["degraded"] == []
        assert "catalogue_restored" in service.log()
        assert "catalogue_loaded" not in service.log()
        check_log(service.log())


def test_without_its_store_it_is_ready_and_pages_go_on(
    own_redis: RedisServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Every answer says `stale`; cursors from before continue; the store's return is noticed."""
    kept = {"snapshots": tmp_path / "kept", **OFTEN}
    asked = {"n": 3, "collapse": False}
    with serving(tiny_bundle, own_redis.url, tmp_path / "first", **kept) as service:
        publish(service, 8)
        wait_until(lambda: saved_articles(tmp_path / "kept") == 8, PATIENCE_S)
        first = service.client.get("/v1/latest", params=asked).json()
    with (
        own_redis.paused(),
        serving(tiny_bundle, own_redis.url, tmp_path / "second", **kept) as service,
    ):
        assert degraded(service) == ["stale"]
        second = service.client.get("/v1/latest", params={**asked, "cursor": first["next_cursor"]})
        assert len({one["id"] for one in first["items"]} | {*ids_of(second)}) == 6
        third = second.json()["next_cursor"]
        assert len(ids_of(service.client.get("/v1/latest", params={**asked, "cursor": third}))) == 2
        assert service.client.put("/v1/news/N9", json={"title": "x"}).status_code == 503
        os.kill(own_redis.pid, signal.SIGCONT)
        wait_until(lambda: degraded(service) == [], PATIENCE_S)
        check_log(service.log())


def test_of_two_processes_one_writes_until_it_is_killed(
    store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Then the other one takes over; both would start from what either has written."""
    folder = tmp_path / "kept"
    kept = {"snapshots": folder, **OFTEN}
    with (
        serving(tiny_bundle, store, tmp_path / "first", **kept) as first,
        serving(tiny_bundle, store, tmp_path / "second", **kept) as second,
    ):
        publish(second, 4)
        wait_until(lambda: saved_articles(folder) == 4, PATIENCE_S)
        wait_until(lambda: "snapshot_saved" in first.log(), PATIENCE_S)
        assert "snapshot_saved" not in second.log()
        first.kill()
        publish(second, 6)
        wait_until(lambda: saved_articles(folder) == 6, PATIENCE_S)
        wait_until(lambda: "snapshot_saved" in second.log(), PATIENCE_S)


def test_a_damaged_snapshot_costs_a_scan(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """The answers are those of the store."""
    kept = {"snapshots": tmp_path / "kept", **OFTEN}
    with serving(tiny_bundle, store, tmp_path / "first", **kept) as service:
        publish(service, 4)
        wait_until(lambda: saved_articles(tmp_path / "kept") == 4, PATIENCE_S)
    for manifest in (tmp_path / "kept").glob("*/*/manifest.json"):
        manifest.write_bytes(manifest.read_bytes()[::-1])
    with serving(tiny_bundle, store, tmp_path / "second", **kept) as service:
        asked = {"n": 50, "collapse": False}
        assert len(ids_of(service.client.get("/v1/latest", params=asked))) == 4
        assert "snapshot_refused" in service.log()
        assert "catalogue_loaded" in service.log()
        check_log(service.log())


@pytest.mark.slow
def test_a_large_catalogue_is_ready_soon_and_stays_small(
    shipped_bundle: Path, tmp_path: Path
) -> None:
    """65,000 articles: 4 s to ready, and 450 MB once all that is built in the background is."""
    url = f"sqlite:///{tmp_path}/store.sqlite"
    store = open_store(url)
    fill_with_made_up(store, open_bundle(shipped_bundle), ARTICLES, SEED)
    store.close()
    kept = {"snapshots": tmp_path / "kept"}
    with serving(shipped_bundle, url, tmp_path / "first", **kept):
        wait_until(lambda: saved_articles(tmp_path / "kept") == ARTICLES, 60)
    started = time.monotonic()
    with serving(shipped_bundle, url, tmp_path / "second", **kept) as service:
        took, used = time.monotonic() - started, core_seconds(service.pid)
        assert "catalogue_restored" in service.log()
        for body in made_up_requests(50, size=ARTICLES, history=50, seed=SEED, n=10):
            assert len(ids_of(service.client.post("/v1/recommendations", json=body))) == 10
        wait_until_idle(service.pid)
        assert service.client.post("/v1/search", json={"query": "story 17"}).json()["items"]
        resident = resident_bytes(service.pid)
    told = f"ready after {took:.2f} s, {used:.2f} s of a core; {resident / 1e6:.0f} MB"
    print(told)  # noqa: T201 - shown by pytest -s
    assert used <= READY_S, told
    assert took <= SLACK * READY_S, told
    assert resident <= RSS_BYTES, told


def publish(service: Service, count: int) -> None:
    """Publish that many articles; those that are there stay as they are."""
    for article in a_catalogue(count):
        body = {"title": article.title, "topic": article.topic}
        assert service.client.put(f"/v1/news/{article.id}", json=body).status_code == 200


def saved_articles(folder: Path) -> int:
    """Return how many articles the newest snapshot of the only model and store holds."""
    found = {int(path.parent.name): path for path in folder.glob("*/[0-9]*/manifest.json")}
    if not found:
        return 0
    rows: int = json.loads(found[max(found)].read_bytes().partition(b"\n")[2])["rows"]
    return rows


def core_seconds(pid: int) -> float:
    """Return how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_idle(pid: int) -> None:
    """Return when a process has hardly computed for two seconds."""

    def is_idle() -> bool:
        before = core_seconds(pid)
        time.sleep(2)
        return core_seconds(pid) - before < 0.2

    wait_until(is_idle, 120)
