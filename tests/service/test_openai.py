"""OpenAI's own Python client, unmodified, is served as it expects."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from openai import AsyncOpenAI, NotFoundError, UnprocessableEntityError

from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from tests.service.web import serving_app

pytestmark = pytest.mark.anyio
TEXTS = [f"Coach on season {i}" for i in range(20)]


@pytest.fixture
async def client(bundle_path: Path) -> AsyncIterator[AsyncOpenAI]:
    """Give the client, with a key and a base URL as anybody would set it up."""
    async with serving_app(bundle_path) as app:
        web = httpx2.AsyncClient(transport=httpx2.ASGITransport(app))
        client = AsyncOpenAI(
            api_key="any", base_url="http://test/v1", http_client=web, max_retries=0
        )
        async with client:
            yield client


async def test_embeddings_are_the_same_in_either_encoding(
    client: AsyncOpenAI, bundle: Bundle
) -> None:
    """The client asks for base64 by itself; a batch comes in its order."""
    default = await client.embeddings.create(model="newsbert", input=TEXTS)
    floats = await client.embeddings.create(
        model=bundle.model, input=TEXTS, encoding_format="float"
    )
    expected = BundleEncoder(bundle).vectors(TEXTS)
    for answer in (default, floats):
        assert [one.index for one in answer.data] == list(range(20))
        vectors = np.array([one.embedding for one in answer.data], np.float32)
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert default.data[3].embedding == pytest.approx(floats.data[3].embedding, abs=1e-7)


async def test_usage_counts_the_tokens_encoded(client: AsyncOpenAI, bundle: Bundle) -> None:
    """Under the names that the client knows."""
    answer = await client.embeddings.create(model="newsbert", input=TEXTS[0], user="somebody")
    tokens = sum(BundleEncoder(bundle).token_counts(TEXTS[:1]))
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)
    assert (answer.model, answer.object) == (bundle.model, "list")


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    """As the client's own exception, with our code and words."""
    with pytest.raises(NotFoundError, match="no such model serves here") as error:
        await client.embeddings.create(model="text-embedding-3-small", input="a")
    assert error.value.code == "model_unknown"


async def test_what_the_model_cannot_do_is_refused(client: AsyncOpenAI, bundle: Bundle) -> None:
    """Token ids, and vectors of another length; its own length is fine."""
    with pytest.raises(UnprocessableEntityError):
        await client.embeddings.create(model="newsbert", input=[1, 2, 3])
    with pytest.raises(UnprocessableEntityError, match="dimensions and no others"):
        await client.embeddings.create(model="newsbert", input="a", dimensions=2)
    dim = bundle.manifest.dim
    answer = await client.embeddings.create(model="newsbert", input="a", dimensions=dim)
    assert len(answer.data[0].embedding) == dim


async def test_models_are_listed(client: AsyncOpenAI, bundle: Bundle) -> None:
    """The ids are what embeddings are asked from."""
    listed = [model async for model in client.models.list()]
    assert [(model.id, model.owned_by) for model in listed] == [(bundle.model, "newsbert")]
