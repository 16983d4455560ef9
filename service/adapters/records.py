"""What every adapter does with what it read: raw columns to a stored article, or nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from contract.article import Article
from service.adapters.frames import OnRejected, find_vector
from service.ports import StoredArticle


@dataclass(frozen=True, slots=True)
class Raw:
    """One article as a store's own format holds it; `body` is None once it was taken down."""

    id: str
    version: int
    body: str | bytes | None
    fingerprint: str
    first_seen: float
    frames: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: in which namespace, how wide its vectors are, and whom to tell of damage."""

    namespace: str
    dim: int | None
    on_rejected: OnRejected

    def article(self, raw: Raw) -> StoredArticle | None:
        """Return the article with its vector, None (and told) when the body is damaged."""
        if raw.body is None:
            return StoredArticle(raw.id, raw.version, None, "", raw.first_seen, None)
        article = _parsed(raw.body)
        # The id is checked because a mixed-up reply must never pass for another article.
        if article is None or article.id != raw.id:
            self.on_rejected("article")
            return None
        vector = find_vector(
            raw.frames,
            namespace=self.namespace,
            fingerprint=raw.fingerprint,
            dim=self.dim,
            on_rejected=self.on_rejected,
        )
        return StoredArticle(raw.id, raw.version, article, raw.fingerprint, raw.first_seen, vector)


def _parsed(body: str | bytes) -> Article | None:
    try:
        return Article.model_validate_json(body)
    except ValidationError:
        return None
