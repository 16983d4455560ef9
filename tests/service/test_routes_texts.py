"""Embeddings, topics and models over HTTP, on a store of each kind, which is not asked."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from service.wire.texts import ClassifyAnswer, EmbeddingsAnswer, ModelsAnswer
from tests.builders import WORDS
from tests.problem_shape import MARKER, check_problem
from tests.service.web import posted, served

pytestmark = pytest.mark.anyio
TEXTS = ["Coach on the new season", "The  law\nof a party", "Coach on the new season"]
MAX_TEXTS = 12


@pytest.fixture
async def client(bundle_path: Path, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service without articles."""
    async with served(bundle_path, store_url, max_texts=MAX_TEXTS) as client:
        yield client


async def embedded(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Ask for embeddings, and check the shape of the answer."""
    return await posted(client, "/v1/embeddings", EmbeddingsAnswer, {"model": "newsbert", **body})


async def classified(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Classify, and check the shape of the answer."""
    return await posted(client, "/v1/classify", ClassifyAnswer, body)


async def test_vectors_are_the_bundles_own(client: httpx.AsyncClient, bundle: Bundle) -> None:
    """Of the canonical texts, in order; the tokens encoded are counted."""
    answer = await embedded(client, input=TEXTS)
    encoder, clean = BundleEncoder(bundle), [TEXTS[0], "The law of a party", TEXTS[2]]
    assert [one["index"] for one in answer["data"]] == [0, 1, 2]
    vectors = np.array([one["embedding"] for one in answer["data"]], np.float32)
    np.testing.assert_allclose(vectors, encoder.vectors(clean), atol=1e-6)
    assert np.array_equal(vectors[0], vectors[2])
    tokens = sum(encoder.token_counts(clean))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert answer["model"] == bundle.model


async def test_base64_is_of_little_endian_float32(client: httpx.AsyncClient) -> None:
    """The same numbers to the bit, for one text and for several."""
    for texts in (TEXTS[0], TEXTS):
        plain, packed = [
            await embedded(client, input=texts, encoding_format=form)
            for form in ("float", "base64")
        ]
        for number, text in zip(plain["data"], packed["data"], strict=True):
            raw = np.frombuffer(base64.b64decode(text["embedding"]), "<f4")
            assert np.array_equal(raw, np.array(number["embedding"], np.float32))


async def test_a_model_has_three_names(client: httpx.AsyncClient, bundle: Bundle) -> None:
    """Its id, its namespace, and whatever serves; no other is known here."""
    for name in (bundle.model, bundle.namespace, "newsbert"):
        assert (await embedded(client, model=name, input="a"))["model"] == bundle.model
    for name in ("text-embedding-3-small", "", MARKER, "NEWSBERT", "a" * 100_000):
        answer = await client.post("/v1/embeddings", json={"model": name, "input": "a"})
        check_problem(answer, 404)
        assert answer.json()["code"] == "model_unknown"


async def test_dimensions_are_the_models_own(client: httpx.AsyncClient, bundle: Bundle) -> None:
    """Vectors are not cut."""
    assert await embedded(client, input="a", dimensions=bundle.manifest.dim)
    for dim in (0, -1, bundle.manifest.dim - 1, 2**63):
        body = {"model": "newsbert", "input": "a", "dimensions": dim}
        check_problem(await client.post("/v1/embeddings", json=body), 422)


async def test_fields_that_clients_add_are_passed_over(client: httpx.AsyncClient) -> None:
    """On this route alone; credentials are not looked at."""
    assert await embedded(client, input="a", user="u", extra={"any": 1}, dimensions=None)
    headers = {"authorization": "Bearer anything"}
    body = {"model": "newsbert", "input": "a"}
    assert (await client.post("/v1/embeddings", json=body, headers=headers)).status_code == 200


BROKEN_INPUTS: list[Any] = [
    None, "", " \n\x00", [], [""], ["a", " "], [1, 2, 3], [[1, 2], [3]], [["a"]], {}, 7, True,
    ["a", None], "a" * 10_001, ["a"] * (MAX_TEXTS + 1),
]  # fmt: skip


async def test_broken_inputs_are_told(client: httpx.AsyncClient) -> None:
    """Token ids among them: their vocabulary is not the client's to know."""
    for wrong in BROKEN_INPUTS:
        body = {"model": "newsbert", "input": wrong}
        check_problem(await client.post("/v1/embeddings", json=body), 422)
    for body in ({}, {"input": "a"}, {"model": "newsbert"}, {"model": 1, "input": "a"}):
        check_problem(await client.post("/v1/embeddings", json=body), 422)
    bodies = [{"encoding_format": MARKER}, {"dimensions": "8"}, {"dimensions": 8.0}, {"user": 1}]
    for wrong in bodies:
        body = {"model": "newsbert", "input": "a", **wrong}
        check_problem(await client.post("/v1/embeddings", json=body), 422)


async def test_texts_of_all_sorts_are_encoded(client: httpx.AsyncClient) -> None:
    """Finite vectors of unit length, also of texts without a token of their own."""
    odd = ["\u200b", "😀" * 999, "\u202eesrever", "a" * 10_000, "e\u0301", "x\x00y", "?" * 9_000]
    answer = await embedded(client, input=odd)
    norms = np.linalg.norm([one["embedding"] for one in answer["data"]], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-3)


async def test_topics_are_found(client: httpx.AsyncClient, bundle: Bundle) -> None:
    """The likeliest first, for one text and for several; all of a taxonomy sum to 1."""
    (one,) = (await classified(client, texts="Coach of the team on the season", n=20))["results"]
    shares = one["taxonomies"]["mind"]
    assert shares[0]["topic"] == "sports"
    assert {share["topic"] for share in shares} == set(WORDS)
    assert sum(share["probability"] for share in shares) == pytest.approx(1)
    answer = await classified(client, texts=["Senate vote", "Bank profit"], taxonomy="mind", n=1)
    best = [one["taxonomies"]["mind"][0]["topic"] for one in answer["results"]]
    assert best == ["politics", "finance"]
    assert (answer["model"], answer["namespace"]) == (bundle.model, bundle.namespace)


BROKEN_QUESTIONS: list[dict[str, Any]] = [
    {}, {"texts": []}, {"texts": ""}, {"texts": [" "]}, {"texts": ["a"] * 65}, {"texts": [1]},
    {"texts": "a" * 10_001}, {"texts": "a", "n": 0}, {"texts": "a", "n": 21},
    {"texts": "a", "taxonomy": MARKER}, {"texts": "a", "taxonomy": ""}, {"texts": "a", MARKER: 1},
    {"texts": "a", "taxonomy": "t" * 65}, {"texts": "a", "taxonomy": ["mind"]},
]  # fmt: skip


async def test_broken_questions_are_told(client: httpx.AsyncClient) -> None:
    """An unknown taxonomy as well."""
    for body in BROKEN_QUESTIONS:
        check_problem(await client.post("/v1/classify", json=body), 422)


async def test_the_model_that_serves_is_listed(client: httpx.AsyncClient, bundle: Bundle) -> None:
    """With what a client has to know of it."""
    answer = await client.get("/v1/models")
    ModelsAnswer.model_validate_json(answer.content)
    (model,) = answer.json()["data"]
    assert model == {
        "id": bundle.model,
        "object": "model",
        "created": 0,
        "owned_by": "newsbert",
        "namespace": bundle.namespace,
        "generation": 1,
        "active": True,
        "dim": bundle.manifest.dim,
        "topics": [f"mind/{topic}" for topic in WORDS],
    }
