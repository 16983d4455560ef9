"""Marks of clicks: up to which revision, of which store, the sums of which spans were told."""

from collections.abc import Sequence

from service.ports import Position, Span


def mark_of(birth: str, revision: int, spans: Sequence[Span]) -> Position:
    """Name a revision of one store, for these spans alone."""
    return (birth, str(revision), *_names(spans))


def revision_of(mark: Position, birth: str, spans: Sequence[Span]) -> int | None:
    """Return the revision that a mark names, None where it is not of this store and these spans."""
    if (*mark[:1], *mark[2:]) != (birth, *_names(spans)):
        return None
    try:
        return int(mark[1])
    except (ValueError, IndexError):
        return None


def _names(spans: Sequence[Span]) -> list[str]:
    return [f"{span.name} {span.ends_at!r}" for span in spans]
