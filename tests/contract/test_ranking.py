"""Ranking metrics by MIND's conventions: by hand, and against scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from contract.ranking import impression_auc, impression_values, mean_over_impressions, mrr, ndcg

# In order of score: click, skip, click, skip.
SCORES, CLICKS = [0.9, 0.8, 0.1, 0.5], [True, False, False, True]


def random_impression(seed: int, *, ties: bool) -> tuple[NDArray[np.float64], list[bool]]:
    """Draw scores (from five values where ties are wanted) and clicks of both kinds."""
    random = np.random.default_rng(seed)
    size = int(random.integers(2, 40))
    scores = random.integers(0, 5, size) / 4 if ties else random.permutation(size) / size
    clicks = random.random(size) < 0.3
    clicks[:2] = True, False
    return scores, clicks.tolist()


def test_auc_is_the_share_of_pairs_in_order() -> None:
    """Of four click-skip pairs three are in order: the click at 0.5 loses to the skip at 0.8."""
    assert impression_auc(SCORES, CLICKS) == 3 / 4


def test_a_tie_is_half_a_pair() -> None:
    """All scores equal is no information, an AUC of one half."""
    assert impression_auc([1, 1, 1], [True, False, False]) == 0.5
    assert impression_auc([1, 1, 0], [True, False, False]) == 0.75


def test_candidates_without_a_text_tie_with_each_other() -> None:
    """Their scores are minus infinity: below every other, equal to each other."""
    low = -np.inf
    assert impression_auc([low, low], [True, False]) == 0.5
    assert impression_auc([low, 0.0], [True, False]) == 0.0


def test_mrr_is_the_mean_over_all_clicks() -> None:
    """MIND's MRR: clicks at ranks 1 and 3 give (1 + 1/3) / 2, not the first hit's 1."""
    assert mrr(SCORES, CLICKS) == pytest.approx((1 + 1 / 3) / 2)


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    """Clicks at ranks 1 and 3 over clicks at ranks 1 and 2."""
    assert ndcg(SCORES, CLICKS, 5) == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)))


def test_ndcg_sees_the_first_k_only() -> None:
    """A click below rank k earns nothing, and the ideal has no more than k clicks."""
    assert ndcg([3, 2, 1], [False, False, True], 2) == 0
    assert ndcg([3, 2, 1], [True, True, True], 2) == 1


def test_of_equal_scores_the_later_candidate_ranks_first() -> None:
    """The order that the competition's `argsort()[::-1]` gives; a clicked last one profits."""
    assert mrr([1, 1, 1], [False, False, True]) == 1
    assert mrr([1, 1, 1], [True, False, False]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_auc_is_scikit_learns(seed: int, ties: bool) -> None:
    """Impression AUC agrees with `roc_auc_score`, ties included."""
    scores, clicks = random_impression(seed, ties=ties)
    assert impression_auc(scores, clicks) == pytest.approx(roc_auc_score(clicks, scores))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_ndcg_is_scikit_learns(seed: int, ties: bool) -> None:
    """NDCG agrees with `ndcg_score` once ties are broken by our rule (the later first)."""
    scores, clicks = random_impression(seed, ties=ties)
    unequal = scores + 1e-6 * np.arange(len(scores))
    for k in (5, 10):
        assert ndcg(scores, clicks, k) == pytest.approx(ndcg_score([clicks], [unequal], k=k))


@pytest.mark.parametrize("seed", range(10))
def test_mrr_is_the_competitions_line_by_line(seed: int) -> None:
    """MRR agrees with a plain loop over the ranking."""
    scores, clicks = random_impression(seed, ties=False)
    ranking = sorted(zip(scores, clicks, strict=True), reverse=True)
    reciprocal = [1 / rank for rank, (_, clicked) in enumerate(ranking, 1) if clicked]
    assert mrr(scores, clicks) == pytest.approx(sum(reciprocal) / len(reciprocal))


def test_metrics_are_averaged_over_impressions_not_pooled() -> None:
    """Each impression counts once, however its scores compare with another's."""
    good, bad = ([0.2, 0.1], [True, False]), ([0.3, 0.9], [True, False])
    means = mean_over_impressions([good, ([0.8, 0.7], [True, False]), bad])
    assert means.auc == pytest.approx(2 / 3)
    assert means.mrr == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert means.ndcg5 == means.ndcg10 == pytest.approx((1 + 1 + 1 / np.log2(3)) / 3)
    pooled = roc_auc_score([1, 0] * 3, [0.2, 0.1, 0.8, 0.7, 0.3, 0.9])
    assert means.auc != pytest.approx(pooled)


@pytest.mark.parametrize("clicks", [[False, False], [True, True], []])
def test_impressions_of_one_kind_are_left_out(clicks: list[bool]) -> None:
    """All clicked or all skipped is nothing to rank: no weight, and not counted."""
    measured = ([0.2, 0.1], [True, False])
    means = mean_over_impressions([(np.ones(len(clicks)), clicks), measured])
    assert means == mean_over_impressions([measured])
    assert means.impressions == 1


def test_nothing_to_measure_is_an_error() -> None:
    """A mean over no impressions is not a number."""
    with pytest.raises(ValueError, match="no impression has both"):
        mean_over_impressions([([1.0], [True])])


def test_a_score_that_is_not_a_number_is_an_error() -> None:
    """NaN would rank first without a word."""
    with pytest.raises(ValueError, match="NaN"):
        mean_over_impressions([([np.nan, 1.0], [True, False])])


def test_metrics_have_names() -> None:
    """The figures come as a plain mapping for reports."""
    names = mean_over_impressions([(SCORES, CLICKS)]).as_dict()
    assert list(names) == ["auc", "mrr", "ndcg5", "ndcg10", "impressions"]


def test_the_values_of_each_impression_are_what_is_averaged() -> None:
    """In the order of the impressions that have both clicks and skips."""
    ranked = [([2, 1], [True, False]), ([1, 2], [True, True]), ([1, 2], [True, False])]
    values = impression_values(ranked)
    assert values["auc"] == [1, 0]
    assert values["mrr"] == [1, 0.5]
    assert mean_over_impressions(ranked).mrr == 0.75
