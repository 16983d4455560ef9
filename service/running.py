"""What a running process consists of, as the routes reach it."""

from dataclasses import dataclass

from fastapi import Request

from service.errors import NotReady
from service.follower import Follower
from service.ports import Clock
from service.publish import Publisher
from service.recommend import Recommender
from service.settings import Settings
from service.telemetry import Telemetry


@dataclass(frozen=True)
class Running:
    """The composed service; built once by the composition root."""

    settings: Settings
    recommender: Recommender
    publisher: Publisher
    follower: Follower
    telemetry: Telemetry
    clock: Clock


def running(request: Request) -> Running:
    """Return the service of a request; raise NotReady before its first snapshot."""
    service: Running = request.app.state.running
    if not service.follower.is_ready:
        raise NotReady("no snapshot is loaded yet")
    return service
