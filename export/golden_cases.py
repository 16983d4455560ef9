"""Golden cases: histories and candidates out of sample articles, chosen so that ranks can hold."""

from __future__ import annotations

from itertools import islice

import numpy as np

from contract.encoder import BundleEncoder
from contract.evaluation import pad_histories
from contract.golden import TOP, GoldenCase
from contract.mind import MindFolder
from contract.text import TextSpec
from export.errors import SamplesMissing

READERS = 2
HISTORY = 6
POOL = 60


def golden_cases(folder: MindFolder, encoder: BundleEncoder, spec: TextSpec) -> list[GoldenCase]:
    """Choose readers' histories, and for each the ten best and the ten worst of a pool.

    Another processor's kernels may swap two candidates of nearly equal score; with the middle left
    out, none can move into or out of the top 10.
    """
    texts = {article.id: spec.text(article) for article in folder.articles}
    pool = list(dict.fromkeys(text for text in texts.values() if text))[:POOL]
    readers = (i for i in folder.impressions if len(i.history) >= HISTORY)
    histories = [
        [texts[i] for i in impression.history[-HISTORY:]] for impression in islice(readers, READERS)
    ]
    if len(pool) < 2 * TOP or not histories:
        raise SamplesMissing(
            f"golden answers need {2 * TOP} articles and a reader with {HISTORY} clicks"
        )
    return [{"history": h, "candidates": _extremes(encoder, h, pool)} for h in ([], *histories)]


def _extremes(encoder: BundleEncoder, history: list[str], pool: list[str]) -> list[str]:
    vectors = encoder.vectors([*history, *pool])
    read, candidates = vectors[: len(history)], vectors[len(history) :]
    user = encoder.users(*pad_histories(vectors, [range(len(history))]))[0]
    order = np.argsort(-encoder.click_model.score(user, read, candidates), kind="stable")
    # In the order of the pool: candidates that come sorted would not show a broken ranking.
    return [pool[i] for i in sorted([*order[:TOP], *order[-TOP:]])]
