"""Exploration: what is drawn, how likely it was said to be, and the token that tells it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
import pytest

from service.diversify import Choice, Offer, Variety, choose
from service.exploration import Drawn, Exploration, Explorer, TokenRefused, propensities, read
from service.wire.base import MAX_N
from service.wire.feedback import ActionBody

KEY, REQUEST = bytes(range(32)), "request-1"
EPSILON, ROUNDS, FEW = 0.25, 20_000, 1_000
SIZE, TOPICS = 5, np.array([0, 1, 1, 0, 2], np.int32)
PLAIN = Variety(scale=5.0)
VARIED = Variety(scale=5.0, diversity=0.3, same_story=0.96, per_topic=1)


def an_exploration(epsilon: float = EPSILON, seed: int = 7) -> Exploration:
    """Explore by a fixed seed."""
    found = Explorer(lambda: KEY, np.random.default_rng(seed)).of(epsilon)
    assert found is not None
    return found


def an_offer() -> Offer:
    """Build rows of falling scores, of which the first two tell one story."""
    vectors = np.eye(SIZE, 8, dtype=np.float32)
    vectors[1] = vectors[0]
    return Offer(
        order=np.arange(SIZE),
        scores=np.arange(SIZE, 0.0, -1.0),
        vectors=vectors,
        published=np.zeros(SIZE).take,
        topics=TOPICS.take,
        sources=TOPICS.take,
    )


def pages(
    variety: Variety, n: int = 2, epsilon: float = EPSILON, rounds: int = ROUNDS
) -> Iterable[Choice]:
    """Choose a page again and again."""
    exploration, offer = an_exploration(epsilon), an_offer()
    return (choose(offer, n, variety, exploration.draw) for _ in range(rounds))


def drawn(choice: Choice) -> list[Drawn]:
    """Return what was drawn for each slot of a page."""
    found = [one.drawn for one in choice.chosen if one.drawn is not None]
    assert [one.place for one in found] == [one.place for one in choice.chosen]
    return found


@pytest.mark.parametrize("variety", [PLAIN, VARIED], ids=["plain", "varied"])
def test_pages_are_as_frequent_as_their_propensities_say(variety: Variety) -> None:
    """By chi-square over whole pages: what is stated of each slot multiplies to that of a page."""
    counts, stated = Counter[tuple[int, ...]](), dict[tuple[int, ...], float]()
    for choice in pages(variety):
        slots = drawn(choice)
        page = tuple(one.place for one in slots)
        counts[page] += 1
        likely = prod(one.propensity for one in slots)
        assert stated.setdefault(page, likely) == likely
    assert sum(stated.values()) == pytest.approx(1)
    expected = {page: ROUNDS * share for page, share in stated.items()}
    chi_square = sum((counts[page] - e) ** 2 / e for page, e in expected.items())
    freedom = len(stated) - 1
    # Beyond this less than one in a thousand of right ones would be (Wilson and Hilferty).
    assert chi_square < freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert len(stated) == {PLAIN: 20, VARIED: 14}[variety]


@pytest.mark.parametrize("variety", [PLAIN, VARIED], ids=["plain", "varied"])
def test_the_propensities_of_a_slot_sum_to_one_over_what_was_open(variety: Variety) -> None:
    """Given the slots before: neither more nor less can come than is open, and one is the best."""
    slots = defaultdict[tuple[int, ...], dict[int, Drawn]](dict)
    for choice in pages(variety, n=3, epsilon=0.5):
        before: tuple[int, ...] = ()
        for one in drawn(choice):
            slots[before][one.place] = one
            before = (*before, one.place)
    for open_ones in slots.values():
        assert sum(one.propensity for one in open_ones.values()) == pytest.approx(1)
        assert {one.among for one in open_ones.values()} == {len(open_ones)}
        assert [one.is_best for _, one in sorted(open_ones.items())].count(True) == 1


def test_a_row_that_is_told_full_or_chosen_is_never_drawn() -> None:
    """A page keeps all of its rules; what is passed over is left for later."""
    for choice in pages(VARIED, n=SIZE, epsilon=0.5, rounds=FEW):
        places = [one.place for one in choice.chosen]
        used = [place for one in choice.chosen for place in (one.place, *one.also)]
        assert sorted([*used, *choice.left.tolist()]) == list(range(SIZE))
        assert len({int(TOPICS[place]) for place in places}) == len(places)
        assert not {0, 1} <= set(places)


def test_the_best_stays_open_when_another_is_drawn() -> None:
    """The next slot that is not explored takes it."""
    plain = 0
    for choice in pages(PLAIN, rounds=FEW):
        first, second = drawn(choice)
        if not first.is_best and second.is_best:
            assert second.place == 0
            plain += 1
    assert plain > 0


def test_what_a_policy_would_earn_is_estimated_without_bias() -> None:
    """Weighed by the inverse of its propensity a click counts for every policy of one slot.

    Clicks of the second slot depend on the first: the estimate is of that slot after these first
    slots, which is all that is promised.
    """
    random, click = np.random.default_rng(3), np.array([0.1, 0.3, 0.8, 0.5, 0.2])
    earned = defaultdict[str, list[float]](list)
    for choice in pages(PLAIN):
        first, second = drawn(choice)
        rate = click[second.place] * (1.0 if first.place == 0 else 0.5)
        for name, slot, p, wanted in (
            ("always 2", first, click[first.place], 2),
            ("second always 3", second, rate, 3),
        ):
            reward = float(random.random() < p)
            earned[name].append(reward * (slot.place == wanted) / slot.propensity)
        # The same for a policy that does not know what is best: all that are open alike.
        reward = float(random.random() < click[first.place])
        earned["any"].append(reward / first.among / first.propensity)
    likely = (1 - EPSILON) + EPSILON / SIZE, EPSILON / SIZE  # the best of the first slot; another
    # Where 3 came first it cannot come second.
    truth = {
        "always 2": click[2],
        "second always 3": click[3] * (likely[0] + 3 * likely[1] * 0.5),
        "any": click.mean(),
    }
    for name, values in earned.items():
        error = np.std(values) / ROUNDS**0.5
        assert abs(np.mean(values) - truth[name]) < 3.3 * error < 0.1, name


def test_no_share_draws_nothing_and_changes_nothing() -> None:
    """Nor does a share that single precision has no number for, nor a service without a key."""
    random = np.random.default_rng(7)
    before = random.bit_generator.state
    explorer = Explorer(lambda: KEY, random)
    assert explorer.of(0.0) is None
    assert explorer.of(1e-60) is None
    assert Explorer(lambda: None, random).of(0.5) is None
    choice = choose(an_offer(), SIZE, VARIED)
    assert not drawn(Choice([], choice.left))
    assert [one.drawn for one in choice.chosen] == [None] * 3
    assert random.bit_generator.state == before


def test_the_first_page_of_a_tiny_share_is_the_plain_one() -> None:
    """The best of each slot, in the same order and with the same stories."""
    exploration = an_exploration(1e-9)
    for variety in (PLAIN, VARIED):
        plain = choose(an_offer(), SIZE, variety)
        explored = choose(an_offer(), SIZE, variety, exploration.draw)
        assert [one._replace(drawn=None) for one in explored.chosen] == plain.chosen
        assert explored.left.tolist() == plain.left.tolist()
        assert [one.is_best for one in drawn(explored)] == [True] * len(plain.chosen)


def a_page(size: int = 3) -> list[tuple[str, Drawn]]:
    """Draw a page of so many of the most rows there are."""
    exploration, places = an_exploration(0.5), np.arange(32_767)
    return [(f"N{n}", exploration.draw(n, places[n:])) for n in range(size)]


def test_a_token_tells_what_was_drawn() -> None:
    """To the last digit, of those articles that are asked for and were on the page."""
    page = a_page(20)
    told = an_exploration(0.5).told(REQUEST, page)
    expected = {i: one.propensity for i, one in page}
    assert read(KEY, told, [*expected, "another"]) == expected
    assert read(KEY, told, ["N3"]) == {"N3": expected["N3"]}
    assert len(propensities(KEY, told)) == 20
    assert {one.is_best for _, one in page} == {True, False}


def test_a_share_is_told_as_exactly_as_it_was_used() -> None:
    """Single precision has no 0.1: the nearest number is drawn by, and told."""
    exploration = an_exploration(0.1)
    one = exploration.draw(0, np.arange(10))
    assert read(KEY, exploration.told(REQUEST, [("N1", one)]), ["N1"]) == {"N1": one.propensity}
    assert one.propensity == pytest.approx(0.91, abs=1e-7)


def test_where_nothing_was_explored_there_is_nothing_to_read() -> None:
    """A plain id has no token; an empty page has one that tells of none."""
    assert read(KEY, REQUEST, ["N1"]) == {}
    assert read(KEY, an_exploration().told(REQUEST, []), ["N1"]) == {}


def test_a_page_of_the_largest_size_fits_into_feedback() -> None:
    """With the longest request id there is, in letters that feedback takes."""
    told = an_exploration().told("x" * 64, a_page(MAX_N))
    assert len(told) <= 2_048
    fields: dict[str, Any] = {"event_id": "e", "user_id": "u", "at": "2026-01-01T00:00:00Z"}
    event = {**fields, "type": "click", "news_id": "N1", "request_id": told}
    assert ActionBody.model_validate(event).request_id == told


def forged() -> dict[str, str]:
    """Spoil a token in every way that comes to mind."""
    told = an_exploration().told(REQUEST, a_page())
    name, token = told.split(".")
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    changed = [raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :] for n in range(len(raw))]
    encoded = [urlsafe_b64encode(one).decode().rstrip("=") for one in (*changed, raw[:-6], b"")]
    other = Exploration(EPSILON, np.random.default_rng(0), bytes(32)).told(REQUEST, a_page())
    return {
        **{f"changed {n}": f"{name}.{one}" for n, one in enumerate(encoded)},
        "another key": other,
        "another request": f"request-2.{token}",
        "foreign letters": f"{name}.{token[:8]}!!!!{token[8:]}",
        "no letters": f"{name}.ü",
        "half": f"{name}.{token[: len(token) // 2]}",
        "twice": f"{told}.{token}",
    }


@pytest.mark.parametrize("told", forged().values(), ids=forged())
def test_a_token_that_was_not_signed_for_the_request_is_refused(told: str) -> None:
    """Altered anywhere, cut short, of another key or of another request."""
    with pytest.raises(TokenRefused):
        read(KEY, told, ["N1"])
