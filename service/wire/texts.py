"""Texts over HTTP: embeddings and models as OpenAI's clients know them, and classification."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from service.wire.base import Wire
from service.wire.finding import Said

MAX_CHARS = 10_000
MAX_CLASSIFIED = 64


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[Said, Field(min_length=1, max_length=MAX_CHARS)]
_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_CHARS}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}


class ClassifyBody(Wire):
    """A text or several, and which topics are asked for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["Coach on the new season"], "n": 2}]}
    )

    texts: Annotated[
        list[Text],
        Field(min_length=1, max_length=MAX_CLASSIFIED),
        BeforeValidator(_listed),
        WithJsonSchema({"anyOf": [_TEXT, {**_TEXTS, "maxItems": MAX_CLASSIFIED}]}),
    ]
    taxonomy: Annotated[str | None, Field(max_length=64, description="of this one only")] = None
    n: Annotated[int, Field(ge=1, le=20, description="topics of each taxonomy")] = 3


class TopicShare(BaseModel):
    """A topic and its probability among those of its taxonomy."""

    topic: str
    probability: float


class Classified(BaseModel):
    """The likeliest topics of one text, by taxonomy."""

    taxonomies: dict[str, list[TopicShare]]


class ClassifyAnswer(BaseModel):
    """One result for each text, in order."""

    results: list[Classified]
    model: str
    namespace: str


class EmbeddingsBody(Wire):
    """A text or several, as OpenAI's clients send them; what else they add is passed over."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"model": "newsbert", "input": "Ferry returns"}]},
    )

    model: Annotated[str, Field(description="the model's id, its namespace, or `newsbert`")]
    input: Annotated[
        list[Text],
        Field(min_length=1),
        BeforeValidator(_listed),
        WithJsonSchema({"anyOf": [_TEXT, _TEXTS]}),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"], Field(description="base64 is of little-endian float32")
    ] = "float"
    dimensions: Annotated[int | None, Field(description="the model's own or none")] = None
    user: str | None = None


class Embedding(BaseModel):
    """One vector, by its text's place in the input."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """How many tokens were encoded."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """One vector of unit length for each text, in order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A model that serves here; when it was made is not recorded, and `created` is 0."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    namespace: str
    generation: int
    active: bool
    dim: int
    topics: list[str]


class ModelsAnswer(BaseModel):
    """The models that serve here."""

    object: Literal["list"]
    data: list[Model]
