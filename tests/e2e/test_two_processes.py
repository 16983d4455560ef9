"""Two services on one store: what one acknowledges, the other shows a moment later."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.builders import a_title
from tests.serving import Service, is_recommendable, serving

ROUNDS = 20
WITHIN_S = 0.25
GIVE_UP_S = 5.0


def test_what_one_process_acknowledges_the_other_soon_shows(
    store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Published, changed and taken down: within 250 ms of the acknowledgement, in both ways."""
    took: list[float] = []
    with (
        serving(tiny_bundle, store, tmp_path) as first,
        serving(tiny_bundle, store, tmp_path) as second,
    ):
        for number in range(ROUNDS):
            one, other = (first, second) if number % 2 else (second, first)
            took += _round(one, other, f"N{number // 2}")
    print(f"slowest of {len(took)}: {1e3 * max(took):.0f} ms")  # noqa: T201 - shown by pytest -s
    # One in sixty is left to a shared machine, which stands still now and then.
    assert sorted(took)[-2] <= WITHIN_S, sorted(took)[-5:]


def test_processes_that_start_together_agree(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """They make one activation, and both write."""
    starting = partial(serving, tiny_bundle, store, tmp_path, ready=False)
    with starting() as first, starting() as second:
        for number, service in enumerate((first, second)):
            service.wait_for("/health/ready")
            body = {"title": a_title("health", number)}
            assert service.client.put(f"/v1/news/B{number}", json=body).status_code == 200
        answers = [s.client.post("/v1/rank", json={"candidates": ["X"]}) for s in (first, second)]
        assert [a.json()["generation"] for a in answers] == [1, 1]


def _round(one: Service, other: Service, article_id: str) -> list[float]:
    path = f"/v1/news/{article_id}"
    body = {"title": a_title("sports"), "topic": "sports"}
    assert one.client.put(path, json=body).status_code == 200
    published = _time_until(lambda: is_recommendable(other.client, article_id))
    assert one.client.put(path, json={**body, "topic": "health"}).status_code == 200
    changed = _time_until(lambda: _topic(other, article_id) == "health")
    assert one.client.delete(path).status_code == 200
    gone = _time_until(lambda: not is_recommendable(other.client, article_id))
    return [published, changed, gone]


def _topic(service: Service, article_id: str) -> str | None:
    body = {"candidates": [article_id], "include": ["topic"]}
    items = service.client.post("/v1/recommendations", json=body).json()["items"]
    return items[0]["topic"] if items else None


def _time_until(is_so: Callable[[], bool]) -> float:
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < GIVE_UP_S, "it never arrived"
    return time.monotonic() - started
