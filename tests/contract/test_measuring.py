"""Measuring: the same figures from the same predictions, whoever makes them."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from contract.article import Vectors
from contract.encoder import BundleEncoder
from contract.evaluation import rank_impressions
from contract.held_out import hold_out
from contract.measuring import (
    EvaluationData,
    Predictor,
    TopicTexts,
    measure,
    measure_ranking,
    model_predictor,
    read_data,
    split_topics,
)
from contract.mind import MindFolder, write_folder
from contract.search import Query, SearchFolder
from contract.text import TextSpec
from contract.topics import LabelledText, UnknownTaxonomy
from tests.builders import WORDS, a_catalogue, an_article, an_impression

SPEC = TextSpec()
NAMES = list(WORDS)


@pytest.fixture
def predictor(encoder: BundleEncoder) -> Predictor:
    """Give the tiny bundle as a predictor; its topics are bare names."""
    return model_predictor(encoder, encoder.click_model, SPEC, NAMES)


def some_data() -> EvaluationData:
    """Build impressions, labelled texts and queries about four topics."""
    articles = a_catalogue(40)
    ids = [article.id for article in articles]
    impressions = [
        an_impression(str(i), history=ids[i : i + 1], candidates=ids[i + 1 : i + 5])
        for i in range(20)
    ]
    texts = [LabelledText(a.id, a.title, f"mind/{a.topic}") for a in articles]
    queries = [Query(a.id, a.title, (a.id,)) for a in articles[:10]]
    return EvaluationData(
        MindFolder(articles, impressions),
        {"mind": TopicTexts([], texts)},
        SearchFolder(articles, [], queries),
    )


def test_a_model_is_measured_on_whatever_there_is(predictor: Predictor) -> None:
    """One group of figures for each task, and for each taxonomy of topics."""
    data = some_data()
    measured = measure(predictor, data)
    assert set(measured) == {"recommendation", "topics/mind", "search"}
    assert measured["topics/mind"].figures["texts"] == 40
    assert measured["topics/mind"].figures["accuracy"] == 1
    assert measured["search"].figures["queries"] == 10
    assert measured["search"].figures["recall10"] == pytest.approx(1)
    assert set(measure(predictor, EvaluationData(search=data.search))) == {"search"}


def test_recommendation_is_what_evaluation_measures(
    predictor: Predictor, encoder: BundleEncoder
) -> None:
    """There is no second scorer."""
    folder = some_data().impressions
    assert folder is not None
    scores = rank_impressions(folder, encoder, encoder.click_model, SPEC)
    expected = measure_ranking(folder, scores).figures
    assert measure(predictor, EvaluationData(folder))["recommendation"].figures == expected


def test_figures_are_the_means_of_their_units_and_inside_their_intervals(
    predictor: Predictor,
) -> None:
    """Every figure but the counts and macro-F has one value per unit; all have intervals."""
    for name, task in measure(predictor, some_data()).items():
        intervals = task.intervals()
        for figure, values in task.units.items():
            low, high = intervals[figure] or (1, 0)
            assert task.figures[figure] == pytest.approx(np.mean(values))
            assert low <= np.mean(values) <= high
        counts = {"impressions", "texts", "queries"}
        assert set(intervals) == set(task.figures) - counts, name


def test_too_few_texts_have_neither_macro_f_nor_its_interval(predictor: Predictor) -> None:
    """Ten texts of each topic, where twenty are needed."""
    task = measure(predictor, some_data())["topics/mind"]
    assert task.figures["macro_f"] is None
    assert task.intervals()["macro_f"] is None


def test_an_impression_of_one_kind_is_no_unit() -> None:
    """As MIND has it: there is no order to judge."""
    shown = [an_impression(clicks=(True, False)), an_impression(clicks=(True, True))]
    scores = [np.array([1, 0], np.float32)] * 2
    task = measure_ranking(MindFolder([], shown), scores)
    assert task.figures["impressions"] == 1
    assert task.units["auc"] == [1]


def test_a_task_that_a_predictor_lacks_is_an_error() -> None:
    """Not a missing row."""
    data = some_data()
    for part, name in (
        (EvaluationData(data.impressions), "recommendation"),
        (EvaluationData(texts=data.texts), "topics"),
        (EvaluationData(search=data.search), "search"),
    ):
        with pytest.raises(ValueError, match=f"{name} is not among"):
            measure(Predictor(SPEC), part)


def test_a_taxonomy_that_is_not_known_is_refused(predictor: Predictor) -> None:
    """By name, before anything is encoded."""
    texts = {"huffpost": TopicTexts([], [LabelledText("1", "Team", "huffpost/SPORTS")])}
    with pytest.raises(UnknownTaxonomy, match="'huffpost'; it knows mind"):
        measure(predictor, EvaluationData(texts=texts))


def test_changing_category_and_subcategory_changes_no_logit(
    encoder: BundleEncoder, tmp_path: Path
) -> None:
    """Of a bundle, although its texts for recommendation begin with both."""
    logits, ranked = zip(
        *(_logits_and_vectors(encoder, tmp_path / name, name) for name in ("sports", "finance")),
        strict=True,
    )
    assert np.array_equal(*logits)
    # The same change is seen where topics may be seen: the comparison can fail.
    assert not np.allclose(*ranked)


def _logits_and_vectors(encoder: BundleEncoder, path: Path, topic: str) -> tuple[Vectors, Vectors]:
    articles = [
        an_article(one.id, title=one.title, topic=topic, subtopic=topic) for one in a_catalogue(8)
    ]
    write_folder(path, articles, [])
    data = read_data(SPEC, topics=[("", path / "news.tsv")], all_texts=True)
    texts = [text.text for text in data.texts["mind"].measure]
    return encoder.topic_logits(texts), encoder.vectors([SPEC.text(a) for a in articles])


def test_a_tenth_is_held_out_by_id_and_the_rest_is_to_learn_from() -> None:
    """The same texts whatever is asked of them; all of them if wanted."""
    texts = [LabelledText(str(i), "text", f"{'ab'[i % 2]}/x") for i in range(400)]
    split = split_topics(texts)
    assert set(split) == {"a", "b"}
    for part in split.values():
        assert all(hold_out(text.id) for text in part.measure)
        assert not any(hold_out(text.id) for text in part.learn)
        assert len(part.measure) + len(part.learn) == 200
    assert [len(part.measure) for part in split_topics(texts, all_texts=True).values()] == [200] * 2


def test_data_is_read_from_what_is_named(tmp_path: Path) -> None:
    """And what is odd about it is told."""
    write_folder(tmp_path, [an_article(topic="", abstract="")], [an_impression(history=())])
    (tmp_path / "own.tsv").write_text("Cup\tsport\n\tsport\n")
    line = json.dumps({"id": "D1", "title": "Cup"}).encode()
    (tmp_path / "news.jsonl.gz").write_bytes(gzip.compress(line))
    (tmp_path / "dev.tsv").write_text("1\tWho?\tD1 D2\n")
    data = read_data(
        SPEC, impressions=tmp_path, topics=[("x", tmp_path / "own.tsv")], search=tmp_path
    )
    assert list(data.texts) == ["x"]
    assert data.impressions is not None
    assert data.search is not None
    assert {"1 empty texts", "1 blank topics", "1 unknown relevant ids"} <= {*data.oddities}
    assert read_data(SPEC) == EvaluationData(oddities=[])


def test_an_article_that_nothing_mentions_is_not_encoded(encoder: BundleEncoder) -> None:
    """A large catalogue costs nothing that is not measured."""

    class Counting(BundleEncoder):
        seen: Sequence[str] = ()

        def __init__(self) -> None:
            pass

        def vectors(self, texts: Sequence[str]) -> Vectors:
            Counting.seen = texts
            return encoder.vectors(texts)

        users = encoder.users

    folder = MindFolder(a_catalogue(40), [an_impression(history=("N1",), candidates=("N2", "N3"))])
    rank_impressions(folder, Counting(), encoder.click_model, SPEC)
    assert len(Counting.seen) == 3
