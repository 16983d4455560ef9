"""What readers' records tell a training run: impressions with their histories and clicks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from typing import Final, NamedTuple

from contract.article import Impression
from service.readers import Event, Kind, Record

# What a model is ever given of a history; MIND folders tell no more either.
HISTORY: Final = 50
_READING: Final = frozenset({Kind.CLICK, Kind.READ})


class Shown(NamedTuple):
    """An impression, its exact time in epoch seconds, and the answer that it names, if any."""

    at: float
    impression: Impression
    request: str


@dataclass(frozen=True, slots=True)
class Told:
    """What one record tells: impressions by time, then id, and clicks on what none of them showed.

    Such clicks are in histories alone.
    """

    shown: Sequence[Shown]
    strays: Sequence[Event]


def told(pseudonym: str, record: Record) -> Told:
    """Return a reader's impressions, each with what was read before it and clicked in it."""
    events = record.events
    impressions = [event for event in events if event.kind is Kind.IMPRESSION]
    clicks = [event for event in events if event.kind is Kind.CLICK]
    clicked, strays = _joined(clicks, impressions)
    # Of events that a full record let go of, `read` still has the latest time of each article.
    reads = {(at, article_id) for article_id, at in record.read.items()}
    reads |= {(event.at, i) for event in events if event.kind in _READING for i in event.ids}
    histories = _histories(reads, impressions)
    shown = [
        Shown(event.at, _impression(pseudonym, event, history, clicked[number]), event.request)
        for number, (event, history) in enumerate(zip(impressions, histories, strict=True))
    ]
    return Told(shown, strays)


def mind_time(at: float) -> datetime:
    """Return a time as MIND tells it: in whole seconds."""
    return datetime.fromtimestamp(floor(at), UTC)


def _impression(user: str, event: Event, history: tuple[str, ...], clicked: set[str]) -> Impression:
    # An article that was shown twice is one candidate.
    shown = tuple(dict.fromkeys(event.ids))
    return Impression(
        id=event.id,
        user_id=user,
        time=mind_time(event.at),
        history=history,
        candidates=shown,
        clicks=tuple(article_id in clicked for article_id in shown),
    )


def _joined(
    clicks: Iterable[Event], impressions: Sequence[Event]
) -> tuple[dict[int, set[str]], list[Event]]:
    """Return the articles clicked by the number of the impression, and the clicks left over."""
    places: dict[str, list[int]] = defaultdict(list)
    for number, event in enumerate(impressions):
        for article_id in event.ids:
            places[article_id].append(number)
    clicked: dict[int, set[str]] = defaultdict(set)
    strays: list[Event] = []
    for click in clicks:
        for article_id in click.ids:
            place = _place(click, places.get(article_id, ()), impressions)
            if place is None:
                strays.append(click)
            else:
                clicked[place].add(article_id)
    return clicked, strays


def _place(click: Event, showing: Sequence[int], impressions: Sequence[Event]) -> int | None:
    """Choose among the impressions that show the article; None where none is of the click.

    The answer that a click names counts for more than its time: clocks disagree.
    """
    same = [n for n in showing if click.request and impressions[n].request == click.request]
    if not same and click.request:
        # What explored answers append tells of their slots, and a click may come without it.
        head = _head(click.request)
        same = [n for n in showing if _head(impressions[n].request) == head]
    before = [n for n in same or showing if impressions[n].at <= click.at]
    return before[-1] if before else next(iter(same), None)


def _head(request: str) -> str:
    return request.partition(".")[0]


def _histories(
    reads: Iterable[tuple[float, str]], impressions: Iterable[Event]
) -> list[tuple[str, ...]]:
    """Return what was read strictly before each impression: distinct, what was read last last."""
    rest, history = sorted(reads, reverse=True), dict[str, None]()
    histories = []
    for impression in impressions:
        while rest and rest[-1][0] < impression.at:
            _, article_id = rest.pop()
            history.pop(article_id, None)
            history[article_id] = None
        histories.append(tuple(history)[-HISTORY:])
    return histories
