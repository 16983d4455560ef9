"""What a running process consists of, as the routes reach it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI, Request

from service.errors import NotReady
from service.exploration import Explorer
from service.feedback import Feedback
from service.finding import Finder
from service.follower import Follower
from service.histories import Histories, Records
from service.inventory import Inventory
from service.lists import Lists
from service.paging import Pager
from service.ports import Clock
from service.publish import Publisher
from service.recommend import Recommender
from service.settings import Settings
from service.snapshot import Snapshot
from service.telemetry import Telemetry
from service.texts import Texts


@dataclass(frozen=True)
class Running:
    """The composed service; built once by the composition root."""

    settings: Settings
    recommender: Recommender
    lists: Lists
    finder: Finder
    texts: Texts
    inventory: Inventory
    snapshot: Callable[[], Snapshot]
    pager: Pager
    publisher: Publisher
    feedback: Feedback
    histories: Histories
    records: Records
    explorer: Explorer
    follower: Follower
    telemetry: Telemetry
    clock: Clock
    jobs: "tuple[asyncio.Task[None], ...]"

    def hindrances(self) -> list[str]:
        """Say what keeps the process from taking traffic; nothing does in a later outage."""
        reasons = []
        if not self.follower.is_ready:
            reasons.append("no_snapshot")
            if self.follower.outage:
                reasons.append(self.follower.outage)
        if any(job.done() for job in self.jobs):
            reasons.append("background_job_ended")
        return reasons


def running(request: Request) -> Running:
    """Return the service of a request; raise NotReady before its first snapshot."""
    return ready(request.app)


def ready(app: FastAPI) -> Running:
    """Return the service of an app; raise NotReady before its first snapshot."""
    service: Running = app.state.running
    if not service.follower.is_ready:
        raise NotReady("no snapshot is loaded yet")
    return service
