"""Cursors are signed, short, and good for one request only; a page never shows what it may not."""

import hashlib
import hmac
import string
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import paging
from service.criteria import Criteria
from service.errors import CursorRefused, NotReady
from service.paging import MAX_CHARS, Kind, Pager, Position, SharedKey, remaining, request_hash
from tests.service.fakes import HOUR, NOW, FakeClock, a_catalogue_with, a_stored, a_take_down
from tests.service.recommending import at

KEY, TTL_S = bytes(range(32)), 1_800.0
REQUEST = request_hash({"n": 1})
LETTERS = string.ascii_letters + string.digits + "._-"
IDS = ("N3", "N1", "N2")


def a_pager(now: float = NOW, key: bytes | None = KEY) -> Pager:
    """Build the pager of one process."""
    return Pager(lambda: key, FakeClock(now), ttl_s=TTL_S)


def a_position(**fields: Any) -> Position:
    """Build a position in a walk through recommendations."""
    defaults = {"kind": Kind.RECOMMENDATIONS, "request": REQUEST, "at": NOW, "shown": 10}
    return Position(**{**defaults, "ids": IDS, **fields})


def a_token(pager: Pager | None = None, **fields: Any) -> str:
    """Issue the token of a position."""
    token = (pager or a_pager()).issue(a_position(**fields))
    assert token is not None
    return token


def refusal(token: str, kind: Kind = Kind.RECOMMENDATIONS, **options: Any) -> str:
    """Return why a token is refused."""
    with pytest.raises(CursorRefused) as caught:
        a_pager(**options).read(token, kind, REQUEST)
    return str(caught.value).partition(":")[0]


def long_ids(count: int) -> tuple[str, ...]:
    """Make ids of 64 characters with nothing in common, which is the worst there is."""
    letters = np.array(list(LETTERS))
    picked = letters[np.random.default_rng(0).integers(0, len(letters), (count, 64))]
    return tuple("".join(row) for row in picked)


# --- tokens -------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(Kind),
    request_=st.binary(min_size=8, max_size=8),
    at=st.floats(allow_nan=False),
    shown=st.integers(0, 65_535),
    ids=st.lists(st.text(LETTERS, min_size=1, max_size=64), min_size=1, max_size=40),
)
def test_any_process_reads_the_position_that_another_issued(
    kind: Kind, request_: bytes, at: float, shown: int, ids: list[str]
) -> None:
    """All of it, to the last bit."""
    position = Position(kind, request_, at, shown, tuple(ids))
    token = a_pager().issue(position)
    assert token is not None
    assert a_pager(NOW + 1).read(token, kind, request_) == position


def test_the_format_is_as_written_down() -> None:
    """Another release continues what this one has issued: a change needs another version."""
    raw = urlsafe_b64decode(a_token(at=1.5, shown=300, kind=Kind.SEARCH) + "==")
    head = bytes([1, 5, 0]) + bytes.fromhex("6b49d200012c") + REQUEST
    payload = head + struct.pack(">d", 1.5) + b"N3\nN1\nN2"
    assert raw == hmac.digest(KEY, payload, "sha256")[:16] + payload
    assert (NOW, request_hash({})) == (0x6B49D200, hashlib.sha256(b"{}").digest()[:8])


def test_three_hundred_of_the_longest_ids_fit_or_lose_their_tail() -> None:
    """A token stays within 8 KiB; what is cut is the end of the walk, and not much of it."""
    ids = long_ids(300)
    token = a_token(ids=ids)
    read = a_pager().read(token, Kind.RECOMMENDATIONS, REQUEST)
    assert len(token) <= 8_192
    assert read.ids == ids[: len(read.ids)]
    assert len(read.ids) > 110


def test_ids_are_deflated_only_where_they_must_be() -> None:
    """2,000 short ids fit whole; of 290 the token is theirs, letter by letter."""
    short = tuple(f"N{number}" for number in range(2_000))
    assert a_pager().read(a_token(ids=short), Kind.RECOMMENDATIONS, REQUEST).ids == short
    plain = urlsafe_b64decode(a_token(ids=short[:290]) + "==")
    assert "\n".join(short[:290]).encode() in plain


def test_where_nothing_is_left_there_is_no_cursor() -> None:
    """The last page says so by having none."""
    assert a_pager().issue(a_position(ids=())) is None


def test_without_a_key_there_is_no_cursor_yet_and_none_is_read() -> None:
    """Until the store has told the key: fewer pages, but never an unsigned cursor."""
    pager = a_pager(key=None)
    assert pager.issue(a_position()) is None
    with pytest.raises(NotReady):
        pager.read(a_token(), Kind.RECOMMENDATIONS, REQUEST)


def test_a_shared_key_is_asked_for_only_when_told_to() -> None:
    """Requests never wait for the store; an outage leaves the key that is known."""
    answers = iter([KEY])
    key = SharedKey(lambda: next(answers))
    assert key() is None
    key.load()
    assert (key(), key()) == (KEY, KEY)
    with pytest.raises(StopIteration):
        key.load()
    assert key() == KEY


def test_a_key_from_before_does_until_the_store_is_asked() -> None:
    """What the store says wins, and is kept for the next process."""
    kept = list[bytes]()
    key = SharedKey(lambda: KEY, b"from before", kept.append)
    assert (key(), kept) == (b"from before", [])
    key.load()
    assert (key(), kept) == (KEY, [KEY])


# --- refusals -----------------------------------------------------------------------------------


def test_one_flipped_bit_anywhere_is_refused() -> None:
    """Every bit of every byte counts: mac, head and ids."""
    raw = urlsafe_b64decode(a_token() + "==")
    for place in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        spoiled = urlsafe_b64encode(bytes(flipped)).decode().rstrip("=")
        assert refusal(spoiled) == "foreign"


def test_no_other_text_is_the_same_cursor() -> None:
    """Each letter changed for its neighbour, and bits left over at the end, are refused."""
    for token in (a_token(ids=("N" * size,)) for size in (1, 2, 3)):
        for place, letter in enumerate(token):
            assert refusal(f"{token[:place]}{chr(ord(letter) ^ 1)}{token[place + 1 :]}")


@pytest.mark.parametrize(
    "token",
    [
        "", "=", "A", "AAAA", "A" * 54, "null", "é", "\x00", "\N{GRINNING FACE}", " ", "../..",
        "A" * (MAX_CHARS + 1), "%41" * 50, "<script>" * 20,
    ],
)  # fmt: skip
def test_what_is_no_token_at_all_is_malformed(token: str) -> None:
    """Whatever a client sends, it gets a reason and not its own words back."""
    assert refusal(token) == "malformed"
    with pytest.raises(CursorRefused) as caught:
        a_pager().read(token, Kind.LATEST, REQUEST)
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize("change", ["{}=", "{}==", " {}", "{}\n", "{}A", "\ufeff{}", "{}*"])
def test_a_token_with_something_added_is_malformed(change: str) -> None:
    """Nothing is passed over, not even where base64 would."""
    assert refusal(change.format(a_token())) in {"malformed", "foreign"}


def test_a_token_cut_short_is_refused() -> None:
    """At every length."""
    token = a_token()
    assert {refusal(token[:size]) for size in range(len(token))} == {"malformed", "foreign"}


@pytest.mark.parametrize(
    "token",
    [
        a_token(a_pager(key=bytes(32))),
        a_token(request=request_hash({"n": 2})),
        a_token(kind=Kind.LATEST),
    ],
    ids=["another service", "another request", "another route"],
)
def test_a_token_of_something_else_is_foreign(token: str) -> None:
    """Another store's key, another body, another route."""
    assert refusal(token) == "foreign"


def test_a_token_of_another_version_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that lays tokens out otherwise is not misread."""
    monkeypatch.setattr(paging, "VERSION", 2)
    token = a_token()
    monkeypatch.undo()
    assert refusal(token) == "foreign"


@pytest.mark.parametrize(("age_s", "is_stale"), [(TTL_S, False), (TTL_S + 1, True)])
def test_a_token_ends_with_its_time(age_s: float, is_stale: bool) -> None:
    """From its issue on; one from a clock that is ahead is good."""
    token = a_token()
    if is_stale:
        assert refusal(token, now=NOW + age_s) == "stale"
    else:
        assert a_pager(NOW + age_s).read(token, Kind.RECOMMENDATIONS, REQUEST).ids == IDS
    assert a_pager(NOW - HOUR).read(token, Kind.RECOMMENDATIONS, REQUEST).ids == IDS


# --- requests -----------------------------------------------------------------------------------


def test_a_request_is_the_same_whatever_the_order_of_its_fields_and_names() -> None:
    """Field order and the order of a filter's names mean nothing."""
    names = [f"t{number}" for number in range(50)]
    forth, back = Criteria(topics=frozenset(names)), Criteria(topics=frozenset(reversed(names)))
    fields = {"criteria": forth, "history": ["N1", "N2"]}
    same = {"history": ["N1", "N2"], "criteria": back}
    assert request_hash(fields) == request_hash(same)
    assert len(request_hash(fields)) == 8


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"history": ["N2", "N1"], "criteria": Criteria()},
        {"history": ["N1", "N2"], "criteria": Criteria(published_after=1.0)},
        {"history": ["N1", "N2"], "criteria": Criteria(sources=frozenset({"wire"}))},
        {"history": ["N1,N2"], "criteria": Criteria()},
    ],
)
def test_whatever_else_differs_is_another_request(other: dict[str, object]) -> None:
    """The order of a history, any filter, any field."""
    assert request_hash(other) != request_hash({"history": ["N1", "N2"], "criteria": Criteria()})


def test_what_has_no_one_text_is_not_hashed() -> None:
    """An object's address would differ from process to process."""
    with pytest.raises(TypeError):
        request_hash({"clock": object()})


# --- rows ---------------------------------------------------------------------------------------


def test_the_rows_left_are_those_that_may_still_be_shown() -> None:
    """In the cursor's order, without what is unknown, taken down, under embargo or expired."""
    catalogue = a_catalogue_with(
        *(a_stored(f"N{number}") for number in range(5)),
        a_stored("N5", embargo_until=at(NOW + 1)),
        a_stored("N6", expires_at=at(NOW)),
    )
    catalogue.apply([a_take_down("N1"), a_stored("N3", version=2, title="Changed")], NOW)
    ids = ["N4", "N1", "N3", "N6", "unknown", "N0", "N5", "N2"]
    snapshot = catalogue.current
    rows = remaining(snapshot, ids, NOW)
    facts = [snapshot.columns.facts[row] for row in rows]
    assert [one.id for one in facts] == ["N4", "N3", "N0", "N2"]
    assert facts[1].title == "Changed"
    assert len(remaining(snapshot, ["N6", "unknown"], NOW)) == 0
    assert len(remaining(snapshot, ids, NOW + 1)) == 5
