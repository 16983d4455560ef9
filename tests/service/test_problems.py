"""The error table: each error of the service has its row, one shape, and no word of the input."""

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service import errors, problems
from service.errors import ServiceError, StoreFull, StoreUnavailable
from service.gate import Gate
from service.telemetry import Telemetry
from service.wire.ranked import RecommendationBody
from tests.service.web import client_of

pytestmark = pytest.mark.anyio

# Raised at the start alone, or only to be caught as a family.
WITHOUT_A_ROW = {errors.ServiceError, errors.StoreError, errors.SchemaUnknown}
ERRORS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, ServiceError)]
SECRET = "Xyzzy-secret"


async def answered(error: Exception | None = None, **request: Any) -> httpx.Response:
    """Ask a route that raises an error, or one that validates a body."""
    app = FastAPI()
    problems.install(app)

    @app.get("/raise")
    async def fail() -> None:
        assert error is not None
        raise error

    @app.post("/validate")
    async def validate(body: RecommendationBody, n: int = 1) -> None:
        pass

    app.add_middleware(Gate, telemetry=Telemetry(), max_in_flight=9)
    async with client_of(app) as client:
        if error is not None:
            return await client.get("/raise")
        return await client.request(**{"method": "POST", "url": "/validate", **request})


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_every_error_has_a_row(error: type[ServiceError]) -> None:
    """Exactly one, but for those that no request meets."""
    rows = [row for row in problems.TABLE if row[0] is error]
    assert len(rows) == (0 if error in WITHOUT_A_ROW else 1)


def test_the_docstring_that_draws_the_tree_names_every_error_and_status() -> None:
    """The drawing in errors.py is the table once more."""
    drawn = dict(re.findall(r"── (\w+) .*?(\d{3}|refuses to start|)$", errors.__doc__ or "", re.M))
    table = {kind.__name__: str(status) for kind, status, _ in problems.TABLE}
    assert {n: s for n, s in drawn.items() if s.isdigit()} == table


def test_codes_are_unique_and_like_names() -> None:
    """A client switches on the code."""
    codes = [code for *_, code in problems.TABLE]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@pytest.mark.parametrize(("error", "status", "code"), problems.TABLE)
async def test_each_row_is_answered(error: type[ServiceError], status: int, code: str) -> None:
    """Status, code, one shape; 503 says when to come back."""
    answer = await answered(error("some words"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"code", "message", "errors"}
    assert answer.headers["content-type"] == "application/json"
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("error", [StoreUnavailable, StoreFull])
async def test_what_a_store_says_stays_inside(error: type[ServiceError]) -> None:
    """Hosts and files are for the log."""
    assert SECRET not in (await answered(error(f"redis://{SECRET}:6379"))).text


@pytest.mark.parametrize("error", [ServiceError(SECRET), RuntimeError(SECRET), KeyError(SECRET)])
async def test_whatever_has_no_row_is_a_defect(error: Exception) -> None:
    """500, and not a word of the exception."""
    answer = await answered(error)
    assert (answer.status_code, answer.json()["code"]) == (500, "unexpected")
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"url": "/nothing"}, 404, "not_found"),
        ({"url": "/raise"}, 405, "method_not_allowed"),
    ],
)
async def test_errors_of_the_framework_have_the_same_shape(
    request_: dict[str, Any], status: int, code: str
) -> None:
    """No path, wrong method."""
    answer = await answered(**request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"code", "message", "errors"}


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({"n": SECRET}, ["body", "n"], "int_type"),
        ({"n": 0}, ["body", "n"], "greater_than_equal"),
        ({"history": ["N1", f"{SECRET}/.."]}, ["body", "history", 1], "string_pattern_mismatch"),
        ({SECRET: 1}, ["body"], "extra_forbidden"),
        ({"filter": {SECRET: 1}}, ["body", "filter"], "extra_forbidden"),
        ({"include": [SECRET]}, ["body", "include", 0], "literal_error"),
        (SECRET, ["body"], "model_attributes_type"),
    ],
)
async def test_a_broken_schema_is_told_by_place_and_rule(
    body: Any, loc: list[str | int], kind: str
) -> None:
    """Never by the input, nor by a name that the client made up."""
    answer = await answered(json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"] == [{"loc": loc, "type": kind}]
    assert SECRET not in answer.text


async def test_a_parameter_is_told_like_a_body() -> None:
    """Where it is and which rule it breaks."""
    answer = await answered(json={}, params={"n": SECRET})
    assert answer.json()["errors"] == [{"loc": ["query", "n"], "type": "int_parsing"}]


async def test_the_number_of_field_errors_is_bounded() -> None:
    """A thousand wrong ids are told by the first few."""
    answer = await answered(json={"history": ["../"] * 1_000})
    assert len(answer.json()["errors"]) == problems.MAX_FIELD_ERRORS
