"""Golden answers: a sound encoder repeats them, any other is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.article import Vectors
from contract.bundle import GOLDEN, Bundle, BundleError
from contract.encoder import BundleEncoder
from contract.golden import GoldenMismatch, check_golden, make_golden
from tests.builders import a_bundle, a_click_model, golden_cases


class SpoiledEncoder:
    """Answers like the encoder it is given, except for one text's vector."""

    def __init__(self, encoder: BundleEncoder, text: str, noise: Vectors | float) -> None:
        self.users, self.click_model = encoder.users, encoder.click_model
        self._encoder, self._text, self._noise = encoder, text, noise

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Spoil the one text."""
        vectors = self._encoder.vectors(texts)
        vectors[[text == self._text for text in texts]] *= self._noise
        return vectors


def test_an_encoder_repeats_its_own_answers(bundle: Bundle, encoder: BundleEncoder) -> None:
    """The check passes on the machine that wrote the answers, and says what it covered."""
    report = check_golden(bundle, encoder)
    assert report.min_cosine > 0.99999
    assert (report.texts, report.rankings) == (51, 2)


def test_answers_are_one_json_object_a_line(bundle: Bundle, encoder: BundleEncoder) -> None:
    """Each line holds a case, its vectors, its scores and the order of the first ten."""
    lines = [json.loads(line) for line in bundle.file(GOLDEN).splitlines()]
    for line, case in zip(lines, golden_cases(), strict=True):
        assert {"history": line["history"], "candidates": line["candidates"]} == case
        assert np.shape(line["vectors"]) == (len(case["history"]) + len(case["candidates"]), 8)
        scores = np.array(line["scores"])
        assert len(line["order"]) == 10
        assert (np.diff(scores[line["order"]]) <= 0).all()
        assert scores[line["order"]].min() >= np.sort(scores)[-10]


def test_recording_is_deterministic(bundle: Bundle, encoder: BundleEncoder) -> None:
    """The same encoder records the same bytes."""
    assert make_golden(encoder, encoder.click_model, golden_cases()) == bundle.file(GOLDEN)


def test_an_encoder_of_another_space_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Vectors of another namespace are not the recorded ones."""
    stranger = BundleEncoder(a_bundle(tmp_path / "other", seed=1))
    with pytest.raises(GoldenMismatch):
        check_golden(bundle, stranger)


@pytest.mark.parametrize("noise", [-1.0, 0.0, np.nan, np.array([1] * 7 + [-9], np.float32)])
@pytest.mark.parametrize("position", [0, -1])
def test_one_wrong_vector_is_enough(
    bundle: Bundle, encoder: BundleEncoder, noise: Vectors | float, position: int
) -> None:
    """Turned, zero, not a number or bent: a single text's vector spoils the bundle."""
    text = golden_cases()[-1]["candidates"][position]
    with pytest.raises(GoldenMismatch):
        check_golden(bundle, SpoiledEncoder(encoder, text, noise))


def test_another_length_is_not_another_direction(bundle: Bundle, encoder: BundleEncoder) -> None:
    """A difference that cosine forgives, and that moves no top 10, passes."""
    text = golden_cases()[-1]["candidates"][3]
    assert check_golden(bundle, SpoiledEncoder(encoder, text, 1.001)).min_cosine > 0.9999


def test_another_top_ten_is_refused(bundle: Bundle, encoder: BundleEncoder) -> None:
    """Right vectors under a click model that ranks otherwise are refused."""
    contrary = a_click_model(content=-encoder.click_model.content, scale=-5.0)
    other = SpoiledEncoder(encoder, "", 1.0)
    other.click_model = contrary
    with pytest.raises(GoldenMismatch, match="another top 10"):
        check_golden(bundle, other)


def test_vectors_of_another_size_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Sizes that differ are a mismatch, not a crash."""
    wide = BundleEncoder(a_bundle(tmp_path / "wide", dim=12))
    with pytest.raises(GoldenMismatch):
        check_golden(bundle, wide)


def test_a_bundle_without_golden_answers_has_nothing_to_repeat(
    bundle: Bundle, encoder: BundleEncoder
) -> None:
    """An empty file passes and says so: zero texts."""
    empty = replace(bundle, files={**bundle.files, GOLDEN: b""})
    assert check_golden(empty, encoder).texts == 0


def test_a_mismatch_is_a_bundle_error() -> None:
    """Whoever loads a bundle catches one root."""
    assert issubclass(GoldenMismatch, BundleError)
