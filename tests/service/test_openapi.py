"""The documents on the interface equal the service: OpenAPI, the error table, every command."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from service.answer import Degraded, Empty, Strategy
from service.problems import TABLE
from service.wire import base, ranked
from service.wire.finding import SearchAnswer
from service.wire.lists import ListAnswer
from tests.docs.commands import commands, request_of
from tests.service.openapi import DOCS, OTHERS, as_text, document, error_table, with_table
from tests.service.web import served

REMAKE = "out of date: run `python -m tests.service.openapi`"
# These never fail: they read nothing and ask nobody.
NEVER_FAIL = {"/health/live", "/metrics"}


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and description of every route."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


SPEC = document()
OPERATIONS = [pytest.param(*one, id=f"{one[1]} {one[0]}") for one in operations(SPEC)]
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")


def test_the_checked_in_document_is_the_services_own() -> None:
    """A change of the interface is seen in review."""
    assert (DOCS / "openapi.json").read_text(encoding="utf-8") == as_text(SPEC), REMAKE


def test_the_error_table_is_the_services_own() -> None:
    """And a table that lacks a row is noticed."""
    assert with_table(PAGE) == PAGE, REMAKE
    spoiled = PAGE.replace("| 507 |", "| 500 |")
    assert with_table(spoiled) != spoiled


def test_the_error_table_has_every_error_once() -> None:
    """Status and code of each row of the service's table, and of what the framework answers."""
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", error_table(), re.MULTILINE)
    answered = [(s, code) for _, s, code in TABLE] + [(s, code) for s, code, _ in OTHERS]
    assert sorted(rows) == sorted((str(s), code) for s, code in answered)


def flaws(path: str, operation: dict[str, Any]) -> list[str]:
    """List what a route's documentation lacks."""
    answers = operation["responses"]
    success = next(iter(answers["200"]["content"].values()))
    errors = {status: a for status, a in answers.items() if status >= "400"}
    shapes = {a["content"]["application/json"]["schema"]["$ref"] for a in errors.values()}
    allowed = {"#/components/schemas/ErrorAnswer", "#/components/schemas/HealthAnswer"}
    bodies = operation.get("requestBody", {}).get("content", {}).values()
    return [
        what
        for what, is_missing in (
            ("summary", not operation.get("summary")),
            ("description", not operation.get("description")),
            ("response model", not success["schema"]),
            ("errors", not errors and path not in NEVER_FAIL),
            ("one shape", not shapes <= allowed),
            ("examples", not all(map(has_example, bodies))),
        )
        if is_missing
    ]


def has_example(content: dict[str, Any]) -> bool:
    """Say whether a body has an example, in place or with its schema."""
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    schema = SPEC["components"]["schemas"].get(name, {})
    return bool("example" in content or "examples" in content or schema.get("examples"))


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_route_is_documented(path: str, method: str, operation: dict[str, Any]) -> None:
    """Summary, response model, errors where it can fail, examples where it takes a body."""
    assert flaws(path, operation) == []


@pytest.mark.parametrize(
    ("route", "status", "codes"),
    [
        ("/v1/news/{id} get", "404", "article_unknown"),
        ("/v1/news/{id}/similar get", "404", "article_unknown"),
        ("/v1/embeddings post", "404", "model_unknown"),
        ("/v1/users/{id} get", "404", "reader_unknown"),
        ("/v1/search post", "422", "invalid, cursor_refused, unanswerable"),
    ],
)
def test_a_route_names_the_codes_of_its_own_refusals(route: str, status: str, codes: str) -> None:
    """An article is never unknown where only a model can be, nor the other way round."""
    path, method = route.split()
    told = SPEC["paths"][path][method]["responses"][status]["description"]
    assert told.endswith(f" Codes: {codes}.")


def test_a_route_without_documentation_is_noticed() -> None:
    """The check above fails on whatever is missing."""
    bare = {
        "responses": {
            "200": {"content": {"application/json": {"schema": {}}}},
            "422": {"content": {"application/json": {"schema": {"$ref": "#/other"}}}},
        },
        "requestBody": {"content": {"application/json": {"schema": {"type": "string"}}}},
    }
    assert flaws("/v1/news", bare) == [
        "summary", "description", "response model", "one shape", "examples",
    ]  # fmt: skip


def test_every_documented_status_is_in_the_error_table() -> None:
    """Nothing is promised that is not answered."""
    known = {str(status) for _, status, _ in TABLE} | {str(status) for status, *_ in OTHERS}
    documented = {s for *_, o in operations(SPEC) for s in o["responses"] if s >= "400"}
    assert documented <= known
    assert {str(status) for _, status, _ in TABLE} <= documented


@pytest.mark.parametrize("value", [*Strategy, *Degraded, *Empty])
def test_strategies_degradations_and_reasons_are_on_the_page(value: str) -> None:
    """Each value that an answer may have is explained."""
    assert f"| `{value}` |" in PAGE


def test_answers_have_the_strategies_that_the_service_knows() -> None:
    """Together, the models name each of them and no other."""
    models = (ranked.RecommendationAnswer, ranked.RankAnswer, ListAnswer, SearchAnswer)
    named = {s for m in models for s in get_args(m.model_fields["strategy"].annotation)}
    assert named == set(Strategy)


@pytest.mark.anyio
async def test_every_command_on_the_page_works(bundle_path: Path) -> None:
    """In the order of the page, each is answered with 200; together they use every route.

    Of the samples that `make run` serves, one must be there.
    """
    used = set()
    async with served(bundle_path) as client:
        await client.put("/v1/news/S0001", json={"title": "Harbour city"})
        while not (await client.get("/v1/latest")).json()["items"]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)
        for words in commands(PAGE):
            request = request_of(words)
            answer = await client.request(**request)
            assert answer.status_code == 200, (words, answer.text)
            used.add((request["method"].lower(), template(answer)))
    assert used == {(method, path) for path, method, _ in operations(SPEC)}


def template(answer: httpx.Response) -> str:
    """Return the path with the id of an article or a reader replaced by its name."""
    return re.sub(r"^/v1/(news|users)/[^/]+", r"/v1/\1/{id}", answer.request.url.path)


def test_the_pages_error_example_has_the_one_shape() -> None:
    """Fields of the example and of the model are the same."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert base.ErrorAnswer.model_validate(json.loads(example)).code == "invalid"
