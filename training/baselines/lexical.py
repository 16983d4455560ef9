"""Lexical baselines: TF-IDF and BM25, which match words and know no other language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.article import Vectors
from contract.evaluation import known_history, shown_articles
from contract.measuring import Predictor, TopicTexts
from contract.mind import MindFolder
from contract.search import TOP, SearchFolder, top_rows
from contract.text import TextSpec
from training.baselines.classifiers import logistic_regression

# Words are what these have, so they get all of them.
SPEC = TextSpec(fields=("title", "abstract"), abstract_chars=10_000)
# Sparse features of unit length leave much room: little regularisation.
STRENGTH = 10.0


def tf_idf() -> Predictor:
    """Match words weighted by rarity; a reader is the mean of what was read before."""
    return Predictor(SPEC, _rank, _classify, _find_tf_idf)


def bm25() -> Predictor:
    """Find articles by Lucene's BM25 (k1 = 1.5, b = 0.75), English stop words left out."""
    return Predictor(SPEC, find=_find_bm25)


def _rank(folder: MindFolder) -> list[Vectors]:
    articles = shown_articles(folder)
    rows = {article.id: row for row, article in enumerate(articles)}
    vectors = _vectorizer().fit_transform([SPEC.text(article) for article in articles])  # (N, W)
    scores = []
    for one in folder.impressions:
        history = known_history(one, rows, SPEC.history)
        known = [i for i, candidate in enumerate(one.candidates) if candidate in rows]
        found = np.full(len(one.candidates), -np.inf, dtype=np.float32)
        # The sum ranks as the mean does.
        read = np.asarray(vectors[history].sum(axis=0)).ravel()  # (W,)
        found[known] = vectors[[rows[one.candidates[i]] for i in known]] @ read
        scores.append(found)
    return scores


def _classify(taxonomy: str, texts: TopicTexts) -> list[str]:
    # Pairs of words as well; what stands in a single text teaches nothing about others.
    vectorizer = _vectorizer(ngram_range=(1, 2), min_df=2)
    learn = vectorizer.fit_transform([text.text for text in texts.learn])
    measure = vectorizer.transform([text.text for text in texts.measure])
    return logistic_regression(taxonomy, texts, learn, measure, strength=STRENGTH)


def _find_tf_idf(folder: SearchFolder) -> list[list[str]]:
    vectorizer, texts, ids = _vectorizer(), *_texts_by_id(folder)
    articles = vectorizer.fit_transform(texts)
    queries = vectorizer.transform([query.text for query in folder.dev])
    return _named((queries @ articles.T).toarray(), ids)


def _find_bm25(folder: SearchFolder) -> list[list[str]]:
    import bm25s

    texts, ids = _texts_by_id(folder)
    index = bm25s.BM25()
    index.index(_words(texts), show_progress=False)
    # A query of stop words alone has no word left, and matches nothing.
    scores = [
        index.get_scores(words) if words else np.zeros(len(ids), np.float32)
        for words in _words([query.text for query in folder.dev])
    ]
    return _named(np.stack(scores), ids)


def _words(texts: Sequence[str]) -> list[list[str]]:
    import bm25s

    words: list[list[str]] = bm25s.tokenize(list(texts), return_ids=False, show_progress=False)
    return words


# Any: scikit-learn publishes no types.
def _vectorizer(**settings: Any) -> Any:  # noqa: ANN401
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, stop_words="english", **settings)


def _texts_by_id(folder: SearchFolder) -> tuple[list[str], list[str]]:
    """Return texts and ids in the order of the ids, which decides ties."""
    articles = sorted(folder.articles, key=lambda article: article.id)
    return [SPEC.text(article) for article in articles], [article.id for article in articles]


def _named(scores: Vectors, ids: Sequence[str]) -> list[list[str]]:
    return [[ids[i] for i in row[:TOP]] for row in top_rows(scores)]
