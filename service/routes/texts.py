"""Routes for texts that are no articles: embeddings and models as OpenAI has them, and topics."""

from base64 import b64encode

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response

from contract.article import Vectors
from service.bodies import JsonRoute
from service.errors import ModelUnknown, Unanswerable
from service.routes.answers import documented, json_bytes, json_response, stages_of
from service.running import running
from service.wire.texts import (
    ClassifyAnswer,
    ClassifyBody,
    EmbeddingsAnswer,
    EmbeddingsBody,
    ModelsAnswer,
)

# Whatever model serves.
NAME = "newsbert"

router = APIRouter(prefix="/v1", tags=["texts"], route_class=JsonRoute)


@router.post(
    "/classify",
    response_model=ClassifyAnswer,
    responses=documented(400, 413, 415, 422, 503),
    summary="The topics of texts",
)
async def classify(request: Request, body: ClassifyBody) -> Response:
    """Answer with each text's likeliest topics; those of one taxonomy have a sum of 1."""
    service = running(request)
    topics = await service.texts.topics(
        body.texts,
        taxonomy=body.taxonomy,
        n=body.n,
        timeout_s=service.settings.request_timeout_s,
    )
    stages_of(request).mark("encode")
    serving = service.texts.serving
    results = [{"taxonomies": one} for one in topics]
    return json_response(
        {"results": results, "model": serving.model, "namespace": serving.namespace}
    )


@router.post(
    "/embeddings",
    response_model=EmbeddingsAnswer,
    responses=documented(400, 404, 413, 415, 422, 503, unknown="model_unknown"),
    summary="The vectors of texts, as OpenAI's clients ask for them",
)
async def embeddings(request: Request, body: EmbeddingsBody) -> Response:
    """Answer with one vector of unit length a text; tokens beyond the model's limit do not count.

    Input by token ids is refused: only this service knows its vocabulary.
    """
    service = running(request)
    serving = service.texts.serving
    if body.model not in (serving.model, serving.namespace, NAME):
        raise ModelUnknown("no such model serves here; GET /v1/models lists those that do")
    dim = service.texts.dim
    if body.dimensions not in (None, dim):
        raise Unanswerable(f"the model's vectors have {dim} dimensions and no others")
    embedded = await service.texts.embed(body.input, timeout_s=service.settings.request_timeout_s)
    stages_of(request).mark("encode")
    data = [
        {"object": "embedding", "index": index, "embedding": one}
        for index, one in enumerate(_encoded(embedded.vectors, body.encoding_format))
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    answer = {"object": "list", "data": data, "model": serving.model, "usage": usage}
    return json_bytes(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


@router.get(
    "/models",
    response_model=ModelsAnswer,
    responses=documented(503),
    summary="The models that serve here",
)
async def models(request: Request) -> Response:
    """Answer with the one that is active."""
    service = running(request)
    serving = service.texts.serving
    model = {
        "id": serving.model,
        "object": "model",
        "created": 0,
        "owned_by": NAME,
        "namespace": serving.namespace,
        "generation": serving.generation,
        "active": True,
        "dim": service.texts.dim,
        "topics": service.texts.topic_names,
    }
    return json_response({"object": "list", "data": [model]})


def _encoded(vectors: Vectors, form: str) -> list[object]:
    if form == "float":
        return list(vectors)
    return [b64encode(np.asarray(one, "<f4").tobytes()).decode() for one in vectors]
