"""Evaluation: impressions become scores in order, with what is unknown left out."""

from collections.abc import Sequence

import numpy as np

from contract.article import Impression, Mask, Vectors
from contract.evaluation import USERS_PER_BATCH, known_history, rank_impressions
from contract.mind import MindFolder
from contract.scoring import ClickModel
from contract.text import TextSpec
from tests.builders import an_article, an_impression

SPEC = TextSpec(fields=("title",), history=2)
# Without attention and content term the score is u . v.
PLAIN = ClickModel(scale=1, attention=0, temperature=1, content=np.zeros(2, np.float32))


class CompassEncoder:
    """Knows four directions by name; a reader looks where the last click did."""

    NAMES = ("east", "north", "west", "south")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Turn names to unit vectors."""
        angles = np.array([self.NAMES.index(text) for text in texts]) * np.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Take the last unmasked click, zeros where there is none."""
        self.batches.append(len(history))
        last = np.maximum(mask.sum(axis=1) - 1, 0)
        return history[np.arange(len(history)), last] * mask.any(axis=1)[:, None]


def a_folder(*impressions: Impression) -> MindFolder:
    """Build a folder of the four directions."""
    return MindFolder(
        [an_article(name, title=name) for name in CompassEncoder.NAMES], [*impressions]
    )


def scores_of(*impressions: Impression) -> list[list[float]]:
    """Rank impressions with the compass."""
    ranked = rank_impressions(a_folder(*impressions), CompassEncoder(), PLAIN, SPEC)
    return [scores.round(4).tolist() for scores in ranked]


def test_each_candidate_gets_its_score_in_its_place() -> None:
    """Scores stand in the order of the candidates, one array per impression."""
    eastward = an_impression(history=("east",), candidates=("west", "east", "north"))
    northward = an_impression(history=("north",), candidates=("north",))
    assert scores_of(eastward, northward) == [[-1, 1, 0], [1]]


def test_a_candidate_without_a_text_is_last() -> None:
    """An unknown id scores below any other, in its place."""
    shown = an_impression(history=("east",), candidates=("unknown", "west"))
    assert scores_of(shown) == [[-np.inf, -1]]
    assert scores_of(an_impression(candidates=("unknown",))) == [[-np.inf]]


def test_unknown_ids_of_a_history_are_left_out() -> None:
    """They neither count towards the limit nor shift the others."""
    shown = an_impression(history=("east", "unknown", "?"), candidates=("east", "west"))
    assert scores_of(shown) == [[1, -1]]
    assert known_history(an_impression(history=("a", "?", "b")), {"a": 7, "b": 3}, 2) == [7, 3]


def test_only_the_latest_clicks_count() -> None:
    """The text specification says how many clicks a user encoder sees."""
    history = an_impression(history=("a", "b", "c"))
    assert known_history(history, {"a": 0, "b": 1, "c": 2}, 2) == [1, 2]


def test_a_reader_without_clicks_gets_the_content_term() -> None:
    """No history is no error and, here, no preference."""
    assert scores_of(an_impression(history=(), candidates=("east", "west"))) == [[0, 0]]


def test_readers_are_encoded_in_batches_without_a_trace() -> None:
    """Batches are bounded, and a reader's scores are the same in any of them."""
    names, encoder = CompassEncoder.NAMES, CompassEncoder()
    many = [an_impression(history=names[: i % 5], candidates=names) for i in range(150)]
    ranked = rank_impressions(a_folder(*many), encoder, PLAIN, SPEC)
    assert encoder.batches == [USERS_PER_BATCH, USERS_PER_BATCH, 150 - 2 * USERS_PER_BATCH]
    assert [scores.round(4).tolist() for scores in ranked] == [scores_of(i)[0] for i in many]


def test_no_impressions_are_no_scores() -> None:
    """An empty log ranks nothing."""
    assert scores_of() == []
