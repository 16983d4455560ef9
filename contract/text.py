"""Which text of an article is encoded, in one canonical form, and that text's fingerprint."""

import hashlib
import unicodedata
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from contract.article import Article

TextField: TypeAlias = Literal["topic", "subtopic", "title", "abstract"]
TOPIC_FIELDS = frozenset({"topic", "subtopic"})


class TextSpec(BaseModel):
    """How an article becomes text; part of the identity of a vector space.

    `abstract_chars` cuts the abstract, `max_tokens` the tokenised text (special tokens included);
    `history` is the number of latest clicks that the user encoder sees.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[TextField, ...] = ("topic", "subtopic", "title")
    abstract_chars: int = Field(default=200, ge=0)
    max_tokens: int = Field(default=32, ge=4)
    history: int = Field(default=50, ge=1)

    def text(self, article: Article) -> str:
        """Return the text whose vector stands for the article, e.g. `sports soccer : Title`."""
        head = canonical(" ".join(getattr(article, f) for f in self.fields if f in TOPIC_FIELDS))
        body = self.topic_text(article)
        return f"{head} : {body}" if head and body else head or body

    def topic_text(self, article: Article) -> str:
        """Return the same text without topic and subtopic: all that the topic head may see."""
        parts = (self._body(article, f) for f in self.fields if f not in TOPIC_FIELDS)
        return ". ".join(part for part in parts if part)

    def _body(self, article: Article, field: TextField) -> str:
        value = canonical(getattr(article, field))
        # Cut what is canonical, so that equal texts in two spellings are cut alike.
        return value[: self.abstract_chars].rstrip() if field == "abstract" else value


def canonical(text: str) -> str:
    """Compose Unicode (NFC), replace control characters by blanks, collapse white space."""
    composed = unicodedata.normalize("NFC", text)
    visible = (" " if unicodedata.category(char) == "Cc" else char for char in composed)
    return " ".join("".join(visible).split())


def is_blank(text: str) -> bool:
    """Say whether nothing is left of a text in canonical form, at the cost of its first letter."""
    return all(char.isspace() or unicodedata.category(char) == "Cc" for char in text)


def fingerprint(text: str) -> str:
    """Return 32 hex digits that stand for a text: equal texts share a vector."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
