"""Sound JSON that asks for what cannot be: ids, counts, lists, texts and times at their limits.

What breaks the schema is 422; what is only unknown or odd is answered.
"""

import json
from typing import Any

import pytest

from tests.faults.requests import (
    BAD_IDS,
    ID_ROUTES,
    MAX_IDS,
    MAX_N,
    good_body,
    send,
    send_to_id,
)
from tests.problem_shape import MARKER, check_problem
from tests.serving import Service, ids_of


@pytest.mark.parametrize("route", ID_ROUTES)
@pytest.mark.parametrize("fault", BAD_IDS)
def test_a_bad_id_in_a_path_is_422(service: Service, route: str, fault: str) -> None:
    """Ids become parts of store keys, so what could leave its place is refused at the door."""
    check_problem(
        send_to_id(service, route, "".join(f"%{b:02x}" for b in BAD_IDS[fault].encode())), 422
    )


@pytest.mark.parametrize("route", ID_ROUTES)
@pytest.mark.parametrize("path", [f"a%2F{MARKER}", f"..%2F{MARKER}", f"{MARKER}/..%2f..", ""])
def test_a_slash_in_an_id_is_another_path(service: Service, route: str, path: str) -> None:
    """No route is reached, so it is 404."""
    check_problem(send_to_id(service, route, path), 404)


@pytest.mark.parametrize("route", ["GET /v1/news/{id}", "DELETE /v1/news/{id}"])
def test_an_unknown_id_is_404(service: Service, route: str) -> None:
    """A well-formed id is not repeated either."""
    check_problem(send_to_id(service, route, MARKER), 404)


@pytest.mark.parametrize("fault", BAD_IDS)
def test_a_bad_id_in_a_list_is_422(service: Service, fault: str) -> None:
    """Every list of ids has the same rule."""
    for field in ("history", "candidates", "exclude_ids"):
        body = good_body("POST /v1/recommendations", **{field: ["N1", BAD_IDS[fault]]})
        check_problem(send(service, "POST /v1/recommendations", body), 422, {MARKER})


def test_an_id_of_64_characters_is_taken(service: Service) -> None:
    """The longest id, and one with every allowed kind of character."""
    for article_id in ("a" * 64, "0..A_-z."):
        answer = send_to_id(service, "PUT /v1/news/{id}", article_id)
        assert answer.status_code == 200, answer.text
        assert service.client.get(f"/v1/news/{article_id}").json()["id"] == article_id


@pytest.mark.parametrize("n", ["0", "-1", str(MAX_N + 1), "2147483648", "9223372036854775808"])
@pytest.mark.parametrize("more", ["", "0" * 10])
def test_n_outside_its_bounds_is_422(service: Service, n: str, more: str) -> None:
    """Of 32, 63, 64 bits and beyond; in a body and in a query."""
    bad = "-" + n if n == "0" and more else n + more
    for body in (f'{{"n": {bad}}}', f'{{"n": "{n}"}}', f'{{"n": {n}.5}}', '{"n": true}'):
        check_problem(send(service, "POST /v1/recommendations", body.encode()), 422)
    check_problem(service.client.get(f"/v1/latest?n={bad}"), 422)


@pytest.mark.parametrize("query", [f"n={MARKER}", "n=", "n=1e1", "n=%00", f"topic={MARKER * 7}"])
def test_a_bad_query_is_422(service: Service, query: str) -> None:
    """Queries have the limits of bodies."""
    check_problem(service.client.get(f"/v1/latest?{query}"), 422)


def test_counts_of_candidates_have_exact_bounds(service: Service) -> None:
    """None, one, the most, and one too many."""
    ids = [f"N{i}" for i in range(MAX_IDS + 1)]
    rank = "POST /v1/rank"
    check_problem(send(service, rank, good_body(rank, candidates=[])), 422)
    check_problem(send(service, rank, good_body(rank, candidates=ids)), 422)
    for few in (ids[:1], ids[:MAX_IDS]):
        answer = send(service, rank, good_body(rank, candidates=few))
        assert len(ids_of(answer)) + len(answer.json()["missing"]) == len(few)
    anything = service.client.post("/v1/recommendations", json={"candidates": []})
    assert (ids_of(anything), anything.json()["strategy"]) == ([], "none")


def test_an_unknown_history_is_no_error(service: Service) -> None:
    """A data condition is answered, and the answer says so."""
    answer = service.client.post("/v1/recommendations", json={"history": ["X1", "X2"]})
    assert ids_of(answer)
    assert answer.json()["degraded"] == ["history_unknown"]
    ranked = service.client.post("/v1/rank", json={"history": ["X1"], "candidates": ["X2", "N1"]})
    assert (ids_of(ranked), ranked.json()["missing"]) == (["N1"], ["X2"])
    assert ranked.json()["degraded"] == ["history_unknown"]


def test_repeated_ids_are_no_error(service: Service) -> None:
    """A candidate counts once; a candidate may be in the history too."""
    body = {"history": ["N1", "N1", "N2"] * 300, "candidates": ["N1", "N1", "N3"] * 300}
    assert sorted(ids_of(service.client.post("/v1/rank", json=body))) == ["N1", "N3"]
    assert ids_of(service.client.post("/v1/recommendations", json=body)) == ["N3"]


@pytest.mark.parametrize(
    "body",
    [
        {"history": ["N1"] * 500_000},
        {"candidates": ["N1"] * 500_000},
        {"exclude_ids": [MARKER] * 500_000},
    ],
    ids=lambda body: next(iter(body)),
)
def test_a_list_of_half_a_million_is_413(service: Service, body: dict[str, Any]) -> None:
    """It is refused by its size, before it is parsed."""
    check_problem(send(service, "POST /v1/recommendations", json.dumps(body).encode()), 413)


def test_huge_texts_are_refused(service: Service) -> None:
    """By the cap of the body, and by the cap of the field."""
    put = "PUT /v1/news/{id}"
    check_problem(send(service, put, good_body(put, title=MARKER * 100_000)), 413)
    for field, longest in {"title": 1_000, "abstract": 10_000, "topic": 64, "url": 2_000}.items():
        check_problem(send(service, put, good_body(put, **{field: "x" * (longest + 1)})), 422)
        assert send(service, put, good_body(put, **{field: "x" * longest})).status_code == 200


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b[31m", "\x7f", "\x0c"])
def test_control_characters_are_422(service: Service, character: str) -> None:
    """Escaped, they are sound JSON; they are still no text of an article."""
    put = "PUT /v1/news/{id}"
    for field in ("title", "abstract", "topic", "source", "url"):
        body = good_body(put, **{field: f"a{character}{MARKER}"})
        check_problem(send(service, put, body), 422)


@pytest.mark.parametrize(
    "title", [" ", "\n", "\u200b", "\u2028", "☃" * 1_000, "\ufdd0", "\U0001d54f"]
)
def test_a_text_without_known_tokens_is_taken(service: Service, title: str) -> None:
    """It has a vector like any other, so scores stay numbers."""
    put = "PUT /v1/news/{id}"
    assert send(service, put, good_body(put, title=title)).status_code == 200
    body = {"history": ["N1"], "candidates": ["N1", "N2"]}
    items = service.client.post("/v1/rank", json=body).json()["items"]
    assert all(isinstance(item["score"], float) for item in items)


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00-23:59", "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z", "9999-12-31T23:59:59+23:59",
    ],
)  # fmt: skip
def test_the_ends_of_time_are_taken(service: Service, moment: str) -> None:
    """A moment that cannot be reckoned with would be a 500 later, for every reader."""
    put = "PUT /v1/news/{id}"
    body = good_body(put, published_at=moment, embargo_until=moment, expires_at=moment)
    assert send(service, put, body).status_code == 200
    assert service.client.get("/v1/news/N1").status_code == 200
    wanted = {"history": ["N2"], "filter": {"published_after": moment}}
    for more in ({}, {"include": ["published_at"]}):
        ids_of(service.client.post("/v1/recommendations", json={**wanted, **more}))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_beyond_the_years_of_utc_is_422(service: Service, moment: str) -> None:
    """A page could not tell it."""
    put = "PUT /v1/news/{id}"
    for field in ("published_at", "embargo_until", "expires_at"):
        check_problem(send(service, put, good_body(put, **{field: moment})), 422)
    wanted = {"filter": {"published_after": moment}}
    check_problem(service.client.post("/v1/recommendations", json=wanted), 422)


@pytest.mark.parametrize("moment", ["2026-11-20T08:30:00", "1e3", "yesterday", "2026-02-30T00:00Z"])
def test_a_time_without_zone_or_sense_is_422(service: Service, moment: str) -> None:
    """A time is a string in RFC 3339."""
    put = "PUT /v1/news/{id}"
    for value in (moment, 1_700_000_000, 1.5):
        check_problem(send(service, put, good_body(put, expires_at=value)), 422)


@pytest.mark.parametrize("hours", [1e-320, 1e-9, -1, 0, 1e9])
def test_a_senseless_half_life_is_422(service: Service, hours: float) -> None:
    """Scores stay numbers: the smallest one must not turn ages into infinities."""
    body = {"history": ["N1"], "freshness_half_life_h": hours}
    check_problem(service.client.post("/v1/recommendations", json=body), 422)
