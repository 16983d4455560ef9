"""Pages of articles as JSON, each with the cursor of the next."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from service.answer import Answer, Degraded, Picked
from service.paging import Kind, Position
from service.recommend import Ranking
from service.running import Running


def page(
    service: Running, answer: Answer, include: Sequence[str], *, kind: Kind, asked: bytes
) -> dict[str, Any]:
    """Shape one page for the wire; `asked` is the hash of its request."""
    left = Position(kind, asked, answer.at, answer.shown, answer.left)
    cursor = service.pager.issue(left)
    lost = [Degraded.CURSOR] if answer.left and cursor is None else []
    return {
        "items": list(_items(answer.articles, include)),
        "empty": answer.empty,
        "next_cursor": cursor,
        **provenance(service, answer, *lost),
    }


def provenance(service: Running, answer: Answer | Ranking, *more: Degraded) -> dict[str, Any]:
    """Say how an answer was made, and why it is less than what was asked."""
    stale = [Degraded.STALE] if service.follower.is_behind else []
    return {
        "strategy": answer.strategy,
        "degraded": [*answer.degraded, *more, *stale],
        "model": answer.activation.model,
        "namespace": answer.activation.namespace,
        "generation": answer.activation.generation,
    }


def _items(articles: Sequence[Picked], include: Sequence[str]) -> Iterator[dict[str, Any]]:
    for one in articles:
        item = {"id": one.facts.id, "score": one.score, "rank": one.rank}
        if one.also:
            item["also"] = one.also
        if one.reasons is not None:
            item["reasons"] = one.reasons
        if one.drawn is not None:
            item["propensity"] = one.drawn.propensity
        yield item | {name: included(one, name) for name in include}


def included(one: Picked, name: str) -> object:
    """Return a field of an article by its name, as `include` has it."""
    if name != "published_at":
        return getattr(one.facts, name)
    return None if one.published is None else datetime.fromtimestamp(one.published, UTC)
