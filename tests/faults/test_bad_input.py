"""Whatever is sent to whichever route: the documented 4xx, small, without the input, never a 500.

The routes come from the service's own OpenAPI page, so a route without a row here fails.
"""

import gzip
import json
from itertools import product

import httpx
import pytest

from tests.faults.requests import (
    BATCH_CAP,
    BODY_ROUTES,
    CAP,
    EMPTY_LINES,
    JSON,
    JSON_ROUTES,
    NDJSON,
    ROUTES,
    UNREADABLE,
    WRONG_SHAPES,
    good_body,
    send,
)
from tests.problem_shape import MARKER, check_no_echo, check_problem
from tests.serving import Service, resident_bytes


def test_every_route_has_a_row(service: Service) -> None:
    """A route that is not listed here would go untested."""
    paths = service.client.get("/openapi.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert routes == set(ROUTES)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_the_good_body_is_good(service: Service, route: str) -> None:
    """The bad bodies below are this one with one fault each."""
    assert send(service, route, good_body(route)).status_code == 200


@pytest.mark.parametrize("route", JSON_ROUTES)
@pytest.mark.parametrize("fault", UNREADABLE)
def test_not_json_is_400(service: Service, route: str, fault: str) -> None:
    """What RFC 8259 does not allow never reaches the schema."""
    check_problem(send(service, route, UNREADABLE[fault](good_body(route))), 400)


@pytest.mark.parametrize("route", JSON_ROUTES)
@pytest.mark.parametrize("shape", WRONG_SHAPES)
def test_json_of_another_shape_is_422(service: Service, route: str, shape: str) -> None:
    """A body is an object with known fields."""
    check_problem(send(service, route, shape.encode()), 422)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_a_wrong_value_of_any_field_is_422(service: Service, route: str) -> None:
    """The fields come from the schema that the service publishes."""
    wrong: list[object] = [{MARKER: MARKER}, [[MARKER]], [None], 1e300]
    for field, value in product(_fields(service, route), wrong):
        check_problem(send(service, route, good_body(route, **{field: value})), 422)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_many_wrong_values_give_a_small_answer(service: Service, route: str) -> None:
    """Errors are listed up to a bound, however many there are."""
    fields = dict.fromkeys(_fields(service, route), [{MARKER: MARKER}] * 400)
    check_problem(send(service, route, good_body(route, **fields)), 422)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_of_duplicate_keys_the_last_one_wins(service: Service, route: str) -> None:
    """RFC 8259 leaves it open; this is what was decided."""
    good = good_body(route)
    field, value = next(iter(json.loads(good).items()))
    wrong, right = f'"{field}": {{"{MARKER}": 1}}', f'"{field}": {json.dumps(value)}'
    rest = good[1:-1].decode()
    assert send(service, route, f"{{{wrong}, {rest}, {right}}}".encode()).status_code == 200
    check_problem(send(service, route, f"{{{rest}, {wrong}}}".encode()), 422)


@pytest.mark.parametrize("route", BODY_ROUTES)
@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/jsonp",
        f"application/json+{MARKER}",
        "json",
        "*/*",
        ",",
    ],
)
def test_another_media_type_is_415(service: Service, route: str, media: str) -> None:
    """Before the body is read: these are no bodies at all."""
    check_problem(send(service, route, MARKER.encode(), media), 415)


@pytest.mark.parametrize("route", BODY_ROUTES)
def test_no_media_type_is_415(service: Service, route: str) -> None:
    """Nothing is guessed."""
    method, path = route.split()
    url = service.url.rstrip("/") + path.replace("{id}", "N1")
    request = httpx.Request(method, url, content=b"{}")
    check_problem(service.client.send(request), 415)


@pytest.mark.parametrize("route", BODY_ROUTES)
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", MARKER])
def test_a_content_encoding_is_415(service: Service, route: str, encoding: str) -> None:
    """Nothing is unpacked, so nothing can swell."""
    method, path = route.split()
    headers = {
        "content-type": NDJSON if "batch" in path else JSON,
        "content-encoding": encoding,
    }
    body = gzip.compress(b" " * 10**7)
    url = path.replace("{id}", "N1")
    check_problem(service.client.request(method, url, content=body, headers=headers), 415)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_the_cap_is_exact(service: Service, route: str) -> None:
    """The last byte that fits is taken, and one more is 413 whatever the bytes are."""
    body = good_body(route)
    assert send(service, route, body + b" " * (CAP - len(body))).status_code == 200
    check_problem(send(service, route, body + b" " * (CAP - len(body) + 1)), 413)
    check_problem(send(service, route, MARKER.encode() * CAP), 413)


def test_a_batch_has_caps_of_bytes_and_of_lines(service: Service) -> None:
    """Short lines must not become millions of answers."""
    check_problem(send(service, "POST /v1/news:batch", b" " * (BATCH_CAP + 1)), 413)
    check_problem(send(service, "POST /v1/news:batch", b"x\n" * 1_000_000), 413)
    check_problem(send(service, "POST /v1/news:batch", b"\n" * (BATCH_CAP - 1)), 413)


@pytest.mark.parametrize("fault", [f for f in UNREADABLE if f not in EMPTY_LINES])
def test_a_bad_line_of_a_batch_is_named_and_the_others_are_taken(
    service: Service, fault: str
) -> None:
    """One line's fault is its own."""
    bad = UNREADABLE[fault](b'{"id": "L2", "title": "x"}').replace(b"\n", b"")
    lines = [b'{"id": "L1", "title": "one"}', bad, b'{"id": "L3", "title": "three"}']
    answer = send(service, "POST /v1/news:batch", b"\n".join(lines))
    assert answer.status_code == 200, answer.text
    assert answer.json()["written"] + answer.json()["unchanged"] == 2
    assert answer.json()["rejected"] == [{"line": 2, "code": "unreadable_body", "errors": []}]


def test_a_line_that_breaks_the_schema_is_not_echoed(service: Service) -> None:
    """The answer says where and by which rule."""
    lines = [f'{{"id": "L1", "title": "a", "{MARKER}": 1}}', f'{{"id": "{MARKER}:", "title": ""}}']
    answer = send(service, "POST /v1/news:batch", "\n".join(lines).encode())
    check_no_echo(answer)
    assert [line["code"] for line in answer.json()["rejected"]] == ["invalid", "invalid"]


def test_unknown_paths_and_methods_have_the_same_shape(service: Service) -> None:
    """404 and 405, like every other error."""
    check_problem(service.client.get(f"/{MARKER}"), 404)
    check_problem(service.client.get(f"/v1/news/N1/{MARKER}"), 404)
    check_problem(service.client.get("/v1/rank"), 405)
    check_problem(service.client.patch("/v1/rank"), 405)


def test_bad_requests_leave_no_memory_behind(service: Service) -> None:
    """The level after thousands of them is the level after some hundreds."""

    def burst(rounds: int) -> int:
        for _ in range(rounds):
            for route, fault in product(JSON_ROUTES, UNREADABLE):
                send(service, route, UNREADABLE[fault](good_body(route)))
            for route in JSON_ROUTES:
                send(service, route, MARKER.encode() * CAP)
            send(service, "POST /v1/news:batch", b"x\n" * 1_000)
        return resident_bytes(service.pid)

    warm = burst(8)
    grown = burst(40) - warm
    assert grown < min(20e6, 0.1 * warm), f"{grown / 1e6:.1f} MB over {warm / 1e6:.0f} MB"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={"code": "unexpected", "message": "", "errors": []}),
        httpx.Response(422, json={"code": "invalid", "message": MARKER, "errors": []}),
        httpx.Response(422, json={"detail": "stock FastAPI"}),
        httpx.Response(422, json={"code": "invalid", "message": "m" * 2_000, "errors": []}),
        httpx.Response(200, json={}),
    ],
    ids=["500", "echo", "another shape", "large", "accepted"],
)
def test_the_checker_is_seen_to_fail(answer: httpx.Response) -> None:
    """A service that did this would be found out."""
    answer.headers["x-request-id"] = "1"
    with pytest.raises(AssertionError):
        check_problem(answer, 422)


def _fields(service: Service, route: str) -> list[str]:
    page = service.client.get("/openapi.json").json()
    method, path = route.split()
    content = page["paths"][path][method.lower()]["requestBody"]["content"]
    name = content[JSON]["schema"]["$ref"].rpartition("/")[2]
    return list(page["components"]["schemas"][name]["properties"])
