"""The parity gate: what is over the budget is named, and a spoiled graph does not pass."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from contract import bundle as b
from contract.ranking import RankingMetrics
from export.calibration import LayerReach, Reach
from export.errors import ParityExceeded
from export.graph import news_encoder_graph
from export.package import Graphs, build_graphs, measure_parity
from export.parameters import news_parameters
from export.parity import Closeness, ParityBudget, ParityReport, Variant, shown_articles
from export.static_scales import StaticInt8, with_static_scales
from tests.builders import an_article
from tests.export.models import (
    MAX_TOKENS,
    PlainDynamicInt8,
    a_checkpoint,
    a_folder,
    a_graph,
    static_graphs,
)
from training.checkpoint import StudentCheckpoint

Build = Callable[[StudentCheckpoint], Graphs]

SAME = Closeness(mean_cosine=1.0, min_cosine=1.0, max_difference=0.0, rank_agreement=1.0)
METRICS = RankingMetrics(auc=0.7, mrr=0.3, ndcg5=0.3, ndcg10=0.4, impressions=10)
VARIANT = Variant(METRICS, SAME, texts_per_s=1.0, size_bytes=1)
PERFECT = ParityReport(
    torch=METRICS, torch_texts_per_s=1.0, fp32=VARIANT, int8=VARIANT, batch_cosine=1.0,
    hard_cosine=1.0, texts=3,
)  # fmt: skip


def with_int8(**fields: float) -> ParityReport:
    """Return a perfect report but for the int8 metrics or closeness named."""
    metrics = {k: v for k, v in fields.items() if k in METRICS.as_dict()}
    closeness = {k: v for k, v in fields.items() if k not in metrics}
    int8 = replace(
        VARIANT, metrics=replace(METRICS, **metrics), closeness=replace(SAME, **closeness)
    )
    return replace(PERFECT, int8=int8)


def test_a_perfect_report_keeps_the_budget() -> None:
    """Nothing is exceeded where nothing differs."""
    assert PERFECT.excesses(ParityBudget()) == []


@pytest.mark.parametrize(
    ("report", "named"),
    [
        (with_int8(auc=0.6979), "int8 AUC drop"),
        (with_int8(ndcg10=0.3979), "int8 nDCG@10 drop"),
        (with_int8(mean_cosine=0.9899), "int8 1 - mean cosine"),
        (with_int8(auc=float("nan")), "int8 AUC drop"),
        (replace(PERFECT, batch_cosine=0.9998), "int8 1 - batch cosine"),
        (replace(PERFECT, batch_cosine=float("nan")), "int8 1 - batch cosine"),
        (replace(PERFECT, hard_cosine=0.9899), "int8 1 - hard cosine"),
        (replace(PERFECT, hard_cosine=float("nan")), "int8 1 - hard cosine"),
        (
            replace(PERFECT, fp32=replace(VARIANT, closeness=replace(SAME, max_difference=0.01))),
            "fp32 difference",
        ),
    ],
)
def test_each_figure_over_the_budget_is_named(report: ParityReport, named: str) -> None:
    """The error holds the figure's name, what was found and what is allowed."""
    with pytest.raises(ParityExceeded, match=named) as caught:
        report.require(ParityBudget())
    assert len(caught.value.excesses) == 1
    assert "allowed is" in str(caught.value)


@pytest.mark.parametrize(
    "report", [with_int8(auc=0.6981), with_int8(auc=0.8), with_int8(mean_cosine=0.9901)]
)
def test_what_is_within_the_budget_passes(report: ParityReport) -> None:
    """A small drop and any gain are allowed."""
    report.require(ParityBudget())


@pytest.mark.parametrize("build", [build_graphs, static_graphs])
def test_the_graphs_of_a_checkpoint_keep_the_budget(build: Build) -> None:
    """Measured on a tiny model: float32 is torch, int8 is near it in either scheme."""
    checkpoint = a_checkpoint()
    parity = measure_parity(checkpoint, build(checkpoint), a_folder())
    assert parity.fp32.closeness.max_difference < 1e-4
    assert parity.fp32.closeness.rank_agreement > 0.999
    assert parity.int8.closeness.mean_cosine > 0.99
    assert parity.batch_cosine >= ParityBudget().batch_cosine
    assert parity.hard_cosine >= ParityBudget().hard_cosine
    assert parity.int8.size_bytes < parity.fp32.size_bytes


def test_a_spoiled_graph_is_found() -> None:
    """Graphs of another model have other vectors and another order."""
    checkpoint = a_checkpoint()
    graphs = build_graphs(checkpoint)
    spoiled = build_graphs(a_checkpoint(layers=1)).shipped[b.NEWS_ENCODER]
    parity = measure_parity(
        checkpoint, Graphs(graphs.fp32, {**graphs.shipped, b.NEWS_ENCODER: spoiled}), a_folder()
    )
    with pytest.raises(ParityExceeded, match="mean cosine"):
        parity.require(ParityBudget())
    assert parity.int8.closeness.rank_agreement < 0.9


def test_plain_dynamic_int8_does_not_pass_the_gate() -> None:
    """The gate sees a vector that depends on its batch."""
    checkpoint = a_checkpoint()
    graphs = build_graphs(checkpoint)
    plain = a_graph(checkpoint.model, PlainDynamicInt8())
    parity = measure_parity(
        checkpoint, Graphs(graphs.fp32, {**graphs.shipped, b.NEWS_ENCODER: plain}), a_folder()
    )
    with pytest.raises(ParityExceeded, match="batch cosine"):
        parity.require(ParityBudget())


def test_scales_that_are_too_small_do_not_pass_the_gate() -> None:
    """Hard texts, which are measured beside those of the folder, show what is cut off."""
    checkpoint = a_checkpoint()
    graphs = build_graphs(checkpoint)
    few = Reach(
        tuple(LayerReach(np.zeros(16), np.zeros(16), np.zeros(16)) for _ in range(2)), np.zeros(16)
    )
    of = news_parameters(checkpoint.model, max_tokens=MAX_TOKENS)
    cut_off = news_encoder_graph(with_static_scales(of, few), StaticInt8())
    parity = measure_parity(
        checkpoint, Graphs(graphs.fp32, {**graphs.shipped, b.NEWS_ENCODER: cut_off}), a_folder()
    )
    with pytest.raises(ParityExceeded, match="hard cosine"):
        parity.require(ParityBudget())


def test_the_quality_of_a_report_is_the_same_on_every_run() -> None:
    """Speed differs from run to run and is not in the manifest."""
    other = replace(PERFECT, torch_texts_per_s=2.0, int8=replace(VARIANT, texts_per_s=3.0))
    assert other.quality() == PERFECT.quality()
    assert np.isclose(PERFECT.quality()["int8"]["auc"], 0.7)


def test_articles_that_nobody_was_shown_are_left_out() -> None:
    """Only what impressions mention is encoded."""
    folder = a_folder(impressions=1)
    folder.articles.append(an_article("N99"))
    shown = shown_articles(folder)
    assert len(shown.articles) == 11
    assert "N99" not in {article.id for article in shown.articles}
