"""What an event may be, over HTTP: fields at their bounds and beyond, and what is no event."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.problem_shape import MARKER, check_problem
from tests.service.events import (
    Faked,
    a_click,
    an_impression,
    at,
    faking,
    kept,
    lines,
    post,
    taken,
    tell,
)
from tests.service.web import served

pytestmark = pytest.mark.anyio


@pytest.fixture
async def quick(bundle_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service on the store in memory, for what no store decides."""
    async with served(bundle_path) as client:
        yield client


@pytest.fixture
async def faked(bundle_path: Path) -> AsyncIterator[Faked]:
    """Give a service that stores nothing, and what it was asked to store."""
    async with faking(bundle_path) as faked:
        yield faked


@pytest.mark.parametrize(
    "line", [b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 5_000, b"\xef\xbb\xbf{}"]
)
async def test_what_rfc_8259_does_not_allow_is_unreadable(
    quick: httpx.AsyncClient, line: bytes
) -> None:
    """A line's fault is its own; a list is one value, and 400."""
    answer = (await post(quick, lines(line, a_click()))).json()
    assert answer["accepted"] == 1
    assert answer["rejected"] == [{"index": 0, "code": "unreadable", "errors": []}]
    check_problem(await post(quick, b"[" + line + b"]", "application/json"), 400)


LETTERS = "azAZ09._:@+=~|-"


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": LETTERS},
        {"user_id": "u" * 128},
        {"event_id": LETTERS},
        {"event_id": "e" * 64},
        {"request_id": LETTERS},
        {"request_id": "r" * 2_048},
        {"news_id": "N" * 64},
        {"at": at().replace("T", " ")},
        {"at": at().replace("T", "t").replace("+00:00", "z")},
        {"at": at().replace("+00:00", "-00:00")},
    ],
    ids=str,
)
async def test_values_within_the_bounds_are_taken(
    quick: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    """The longest ones, and every letter that an id may have."""
    assert await tell(quick, a_click(**fields)) == taken(1)


@pytest.mark.parametrize("count", [1, 200])
async def test_an_impression_has_1_to_200_articles(quick: httpx.AsyncClient, count: int) -> None:
    """In their order."""
    items = [f"N{n}" for n in range(count)]
    assert await tell(quick, an_impression(1, *items)) == taken(1)
    assert (await kept(quick))["events"][0]["items"] == items


async def test_an_event_without_a_request_may_say_so(quick: httpx.AsyncClient) -> None:
    """Null is as good as nothing."""
    assert await tell(quick, {**a_click(), "request_id": None}) == taken(1)
    assert "request_id" not in (await kept(quick))["events"][0]


WORDS: Sequence[Any] = [
    "",
    "a b",
    "a/b",
    "ä",
    "a\n",
    "a\x00",
    "{a}",
    "💥",
    1,
    True,
    ["a"],
    {"a": 1},
]
BAD = [
    *[(name, value) for name in ("user_id", "event_id", "request_id") for value in WORDS],
    *[("news_id", value) for value in [*WORDS, ".a", "a:b", "N" * 65, "caf\u0065\u0301"]],
    *[("user_id", "u" * 129), ("event_id", "e" * 65), ("request_id", "r" * 2_049)],
    *[("type", value) for value in ["", "Click", "view", None, 1, True, ["click"], {"a": "click"}]],
    *[(name, None) for name in ("user_id", "event_id", "news_id", "at")],
    ("items", ["N1"]),
    ("more", 1),
    ("at", 1_700_000_000),
    ("at", 1e300),
    ("at", -1),
    ("at", 10**18),
    ("at", True),
    ("at", "1700000000"),
    ("at", "1e9"),
    ("at", ""),
    ("at", "9" * 5_000),
    ("at", "2026-11-20"),
    ("at", "2026-11-20T08:30:00"),
    ("at", "2026-11-20T08:30Z"),
    ("at", "2026-02-30T08:30:00Z"),
    ("at", "2026-11-20T24:00:00Z"),
    ("at", "2026-11-20T08:30:60Z"),
    ("at", "2026-11-20T08:30:00+25:00"),
    ("at", "0000-01-01T00:00:00Z"),
    ("at", "0001-01-01T00:00:00+00:01"),
    ("at", "9999-12-31T23:59:59-00:01"),
    ("at", "10000-01-01T00:00:00Z"),
    ("at", "٢٠٢٦-11-20T08:30:00Z"),
    ("at", "2026-11-20T08:30:00Z\n"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda one: ascii(one)[:40])
async def test_values_beyond_the_bounds_are_invalid(faked: Faked, name: str, value: object) -> None:
    """Of whichever field: told by place and rule, and nothing is repeated."""
    for by_line in (False, True):
        event = {**a_click(news_id=MARKER), name: value}
        if value is None:
            del event[name]
        answer = await tell(faked.client, event, by_line=by_line)
        (rejected,) = answer["rejected"]
        assert (rejected["index"], rejected["code"]) == (0, "invalid")
        assert MARKER not in str(answer)
        assert all(set(error["loc"]) <= {name, "items", "news_id"} for error in rejected["errors"])
    assert faked.feedback.taken == []


@pytest.mark.parametrize(
    ("items", "loc"),
    [
        ([], ["items"]),
        (["N1"] * 201, ["items"]),
        (["N1", "!", "?"], ["items", 1]),
        ([["N1"]], ["items", 0]),
        ({"N1": 1}, ["items"]),
        ("N1", ["items"]),
        (None, ["items"]),
    ],
)
async def test_an_impression_of_other_articles_is_invalid(
    faked: Faked, items: object, loc: list[Any]
) -> None:
    """The first broken id is told, not all of them."""
    (rejected,) = (await tell(faked.client, {**an_impression(), "items": items}))["rejected"]
    assert [error["loc"] for error in rejected["errors"]] == [loc]


async def test_of_a_key_given_twice_the_last_one_counts(quick: httpx.AsyncClient) -> None:
    """As in all other bodies."""
    event = orjson.dumps(a_click())
    wrong = b'{"news_id": 5, ' + event[1:]
    assert (await post(quick, lines(wrong, event[:-1] + b', "news_id": 5}'))).json() == {
        **taken(1),
        "rejected": [
            {
                "index": 1,
                "code": "invalid",
                "errors": [{"loc": ["news_id"], "type": "string_type"}],
            }
        ],
    }


async def test_many_unknown_fields_are_not_listed(quick: httpx.AsyncClient) -> None:
    """However many there are, it is one error."""
    fields = {f"{MARKER}{n}": n for n in range(10_000)}
    assert (await tell(quick, {**a_click(), **fields}))["rejected"] == [
        {"index": 0, "code": "invalid", "errors": [{"loc": [], "type": "extra_forbidden"}]}
    ]
