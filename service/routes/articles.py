"""A stored article as JSON, with the state it is in."""

from datetime import UTC, datetime
from typing import Any

from service.ports import StoredArticle


def article_answer(stored: StoredArticle, now: float) -> dict[str, Any]:
    """Shape an article that is not taken down for the wire."""
    assert stored.article is not None  # noqa: S101 - the use case raised otherwise
    return {
        **stored.article.model_dump(mode="json"),
        "version": stored.version,
        "state": _state(stored, now),
        "first_seen": datetime.fromtimestamp(stored.first_seen, UTC).isoformat(),
        "time_unknown": stored.article.published_at is None,
    }


def _state(stored: StoredArticle, now: float) -> str:
    article = stored.article
    if article is not None and article.embargo_until and now < article.embargo_until.timestamp():
        return "embargoed"
    if article is not None and article.expires_at and now >= article.expires_at.timestamp():
        return "expired"
    return "live"
