"""Events of readers as publishers send them, the ways to send them, and a service that fakes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import orjson

from service.feedback import Sent
from service.readers import Verdict
from service.wire.feedback import FeedbackAnswer
from tests.service.web import client_of, serving_app

NDJSON = "application/x-ndjson"


@cache
def begin() -> datetime:
    """Return the time that all others are told by: an hour before it was first asked for."""
    return datetime.now(UTC) - timedelta(hours=1)


def at(seconds: float = 0) -> str:
    """Write a time of about an hour ago, and so many seconds."""
    return (begin() + timedelta(seconds=seconds)).isoformat()


def a_click(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Build a click of a reader at a time of its own; a field that is None is left out."""
    event = {
        "event_id": f"e-{number}",
        "type": "click",
        "user_id": "reader-1",
        "news_id": f"N{number}",
        "at": at(number),
        **fields,
    }
    return {name: value for name, value in event.items() if value is not None}


def an_impression(number: int = 1, *items: str, **fields: Any) -> dict[str, Any]:
    """Build an impression of articles."""
    shown = {"type": "impression", "news_id": None, "items": list(items) or ["N1", "N2"]}
    return a_click(number, **{**shown, **fields})


def lines(*values: object) -> bytes:
    """Write values one a line; bytes as they are."""
    return b"\n".join(v if isinstance(v, bytes) else orjson.dumps(v) for v in values)


async def post(client: httpx.AsyncClient, content: bytes, media: str = NDJSON) -> httpx.Response:
    """Send a body of bytes."""
    return await client.post("/v1/feedback", content=content, headers={"content-type": media})


async def tell(client: httpx.AsyncClient, *events: object, by_line: bool = False) -> dict[str, Any]:
    """Send events and return the answer, which is 200 and of its shape."""
    content, media = (
        (lines(*events), NDJSON) if by_line else (orjson.dumps(events), "application/json")
    )
    answer = await post(client, content, media)
    assert answer.status_code == 200, answer.text
    FeedbackAnswer.model_validate_json(answer.content)
    told: dict[str, Any] = answer.json()
    return told


def taken(accepted: int, duplicates: int = 0) -> dict[str, Any]:
    """Return the answer to events of which none was refused."""
    return {"accepted": accepted, "duplicates": duplicates, "rejected": []}


async def kept(client: httpx.AsyncClient, user_id: str = "reader-1") -> dict[str, Any]:
    """Return what is kept of a reader."""
    answer: dict[str, Any] = (await client.get(f"/v1/users/{user_id}")).json()
    return answer


class FakeFeedback:
    """Takes whatever it is given, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[Sent] = []

    async def take(self, sent: Sequence[Sent]) -> list[Verdict]:
        """Accept all events."""
        if self.error is not None:
            raise self.error
        self.taken += sent
        return [Verdict.ACCEPTED] * len(sent)


class Faked:
    """A service whose events go to a fake."""

    def __init__(self, client: httpx.AsyncClient, feedback: FakeFeedback) -> None:
        self.client, self.feedback = client, feedback


@asynccontextmanager
async def faking(bundle_path: Path) -> AsyncIterator[Faked]:
    """Serve what stores nothing, and remember what it was asked to store."""
    async with serving_app(bundle_path) as app, client_of(app) as client:
        fake = FakeFeedback()
        app.state.running = replace(app.state.running, feedback=fake)
        yield Faked(client, fake)
