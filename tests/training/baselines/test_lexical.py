"""TF-IDF and BM25 on invented texts: words that are shared decide."""

import numpy as np
import pytest

from contract.measuring import Predictor, TopicTexts
from contract.mind import MindFolder
from contract.search import Query, SearchFolder
from contract.topics import LabelledText
from tests.builders import an_article, an_impression
from training.baselines.classifiers import majority
from training.baselines.lexical import bm25, tf_idf
from training.errors import DataError

ARTICLES = [
    an_article("D1", title="Storm floods valley", abstract="Rain for days."),
    an_article("D2", title="Senate passes budget law", abstract="A close vote."),
    an_article("D3", title="Film festival opens", abstract="Stars arrive in the rain."),
]


def some_texts() -> TopicTexts:
    """Build texts whose one word tells the topic; film is the most frequent to learn from."""
    words = {"x/film": "festival", "x/law": "senate"}
    learn = [
        LabelledText(f"{topic}{i}", f"{word} again", topic)
        for topic, word in words.items()
        for i in range(6 if topic == "x/film" else 4)
    ]
    return TopicTexts(learn, [LabelledText("1", "the senate", "x/law")])


@pytest.mark.parametrize("predictor", [bm25(), tf_idf()], ids=["bm25", "tf-idf"])
def test_a_query_finds_the_article_with_its_words(predictor: Predictor) -> None:
    """Titles and abstracts are searched; articles without any word of it follow by id."""
    assert predictor.find is not None
    texts = ("budget vote", "of the", "unheard-of zyzzyva")
    queries = [Query(text, text, ("D2",)) for text in texts]
    found = predictor.find(SearchFolder(ARTICLES[::-1], [], queries))
    assert found == [["D2", "D1", "D3"], ["D1", "D2", "D3"], ["D1", "D2", "D3"]]


def test_bm25_scores_are_those_worked_out_by_hand() -> None:
    """Lucene's: ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + 1.5 * (0.25 + 0.75 * l / mean l))."""
    import bm25s

    index = bm25s.BM25()
    index.index([["rain"], ["rain", "storm", "storm"]], show_progress=False)
    rarity = np.log(1 + 1.5 / 1.5)
    expected = rarity * 2 / (2 + 1.5 * (0.25 + 0.75 * 3 / 2))
    assert index.get_scores(["storm"]) == pytest.approx([0, expected])


def test_a_candidate_like_the_history_is_ranked_first() -> None:
    """Unknown candidates last, unknown clicks left out, no history no preference."""
    rank = tf_idf().rank
    assert rank is not None
    shown = [
        an_impression(history=("?", "D3"), candidates=("D2", "D1", "?")),
        an_impression(history=(), candidates=("D1", "D2")),
    ]
    first, second = rank(MindFolder(ARTICLES, shown))
    assert first[1] > first[0] == 0
    assert first[2] == -np.inf
    assert second.tolist() == [0, 0]


def test_texts_are_classified_by_their_words() -> None:
    """Learnt from what is not held out."""
    classify = tf_idf().classify
    assert classify is not None
    assert classify("x", some_texts()) == ["x/law"]


def test_the_majority_is_the_most_frequent_topic_to_learn_from() -> None:
    """Whatever is measured; by name where two are equally frequent."""
    classify = majority().classify
    assert classify is not None
    texts = some_texts()
    assert classify("x", texts) == ["x/film"]
    assert classify("x", TopicTexts(texts.learn[2:], texts.measure)) == ["x/film"]


def test_nothing_to_learn_from_is_an_error() -> None:
    """With the taxonomy's name."""
    one_topic = TopicTexts(some_texts().learn[:3], some_texts().measure)
    for predictor in (majority(), tf_idf()):
        assert predictor.classify is not None
        with pytest.raises(DataError, match="x: a baseline needs texts of two topics"):
            predictor.classify("x", one_topic)
