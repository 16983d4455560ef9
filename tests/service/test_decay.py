"""Decay: weights that halve, and spans that keep their sums within double precision."""

from math import exp, fsum, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.decay import SPAN, Decay
from service.readers import AHEAD_S
from tests.service.fakes import HOUR, NOW

HALF_LIVES = st.floats(0.1 * HOUR, 8_760 * HOUR)
TIMES = st.floats(NOW - 1e8, NOW + 1e8)


@given(HALF_LIVES, TIMES)
def test_a_click_weighs_twice_as_much_as_one_of_a_half_life_before(
    half_life: float, at: float
) -> None:
    """Against the start of its span, where a click weighs 1; so sums never leave the doubles."""
    decay = Decay(half_life)
    span = decay.span(at)
    assert decay.start(span) <= at + 1e-6 < decay.start(span) + SPAN * half_life + 2e-6
    assert decay.weight(at) == pytest.approx(2 ** ((at - decay.start(span)) / half_life), rel=1e-9)
    assert 0.999 < decay.weight(at) < 2**SPAN * 1.001


@given(HALF_LIVES, TIMES, TIMES)
def test_log_weights_are_those_of_the_weights(half_life: float, one: float, other: float) -> None:
    """Against any time: ln 2 for each half-life between the two."""
    decay = Decay(half_life)
    assert decay.log_weight(one, other) == pytest.approx((one - other) / half_life * log(2))
    assert decay.log_weight(one, one) == 0.0
    start = decay.start(decay.span(one))
    assert log(decay.weight(one)) == pytest.approx(decay.log_weight(one, start), abs=1e-9)


@given(
    HALF_LIVES,
    TIMES,
    st.lists(st.floats(0, SPAN), min_size=1, max_size=50),
)
def test_sums_over_spans_are_the_sums_of_decayed_clicks(
    half_life: float, now: float, ages: list[float]
) -> None:
    """To one part in a thousand million, from whichever of the live spans they come."""
    decay = Decay(half_life)
    times = [now - age * half_life for age in ages]
    sums = {
        span: fsum(decay.weight(at) for at in times if decay.span(at) == span)
        for span in {decay.span(at) for at in times}
    }
    assert set(sums) <= set(decay.live(now))
    weights = (sums[span] * exp(decay.log_weight(decay.start(span), now)) for span in sums)
    naive = fsum(2 ** (-(now - at) / half_life) for at in times)
    assert fsum(weights) == pytest.approx(naive, rel=1e-9)


@given(HALF_LIVES, TIMES, TIMES)
def test_a_span_is_over_once_it_weighs_nothing(half_life: float, at: float, now: float) -> None:
    """A span is live from its start to its end; its last clicks weigh at least 2^-32 till then."""
    decay = Decay(half_life)
    span = decay.span(at)
    is_live = decay.start(span) <= now < span.ends_at
    edges = (decay.start(span), span.ends_at)
    if min(abs(now - edge) for edge in edges) > 1e-3:
        assert (span in decay.live(now)) == is_live
    assert decay.span(at + (SPAN + 0.001) * half_life).ends_at > span.ends_at


def test_a_click_from_a_little_ahead_is_of_a_span_that_is_not_over() -> None:
    """It counts once its span is live."""
    decay = Decay(0.1 * HOUR)
    ends_at = decay.span(NOW).ends_at
    assert decay.span(ends_at + AHEAD_S).ends_at > ends_at


@pytest.mark.parametrize(("one", "other"), [(86_400.0, 86_401.0), (1_234_567.0, 1_234_568.0)])
def test_another_half_life_has_other_spans(one: float, other: float) -> None:
    """However little they differ, their weights are never summed; 86400 is 86400.0."""
    assert Decay(one).span(NOW).name != Decay(other).span(NOW).name
    assert Decay(int(one)).span(NOW) == Decay(one).span(NOW)
    assert "e" not in Decay(one).span(NOW).name
