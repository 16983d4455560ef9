"""Golden answers: a sound encoder repeats them, any other is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.article import Vectors
from contract.bundle import GOLDEN, Bundle
from contract.bundle_errors import BundleError, GoldenMalformed, GoldenMismatch
from contract.encoder import BundleEncoder
from contract.golden import check_golden, make_golden
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


def test_a_score_that_is_no_number_is_refused(bundle: Bundle, encoder: BundleEncoder) -> None:
    """Even where the order of what is left would be the recorded one."""
    other = SpoiledEncoder(encoder, "", 1.0)
    other.click_model = a_click_model(scale=1e308)
    with pytest.raises(GoldenMismatch, match="no number"):
        check_golden(bundle, other)


def case_with(bundle: Bundle, **changes: Any) -> bytes:
    """Return the first recorded case after changes; None removes a field."""
    case = {**json.loads(bundle.file(GOLDEN).splitlines()[0]), **changes}
    return json.dumps({name: value for name, value in case.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scores": None}, "scores: Field required"),
        ({"remark": "x"}, "remark"),
        ({"history": "text"}, "history"),
        ({"order": [0.5] * 10}, "order.0"),
        ({"order": [0] * 10}, "do not match"),
        ({"order": list(range(9))}, "do not match"),
        ({"order": list(range(-1, 9))}, "do not match"),
        ({"order": list(range(20, 30))}, "do not match"),
        ({"scores": [1.0]}, "do not match"),
        ({"candidates": []}, "do not match"),
        ({"vectors": []}, "do not match"),
        ({"vectors": [[1.0] * 8] * 25 + [[1.0] * 7]}, "do not match"),
        ({"vectors": [[float("nan")] * 8] * 26}, "vectors.0.0"),
    ],
    ids=str,
)
def test_answers_that_are_none_are_refused(
    bundle: Bundle, encoder: BundleEncoder, changes: dict[str, Any], problem: str
) -> None:
    """The line and the field are named; an index cannot point elsewhere."""
    lines = [*bundle.file(GOLDEN).splitlines(), case_with(bundle, **changes)]
    forged = replace(bundle, files={**bundle.files, GOLDEN: b"\n".join(lines)})
    with pytest.raises(GoldenMalformed, match=f"line 3: .*{problem}"):
        check_golden(forged, encoder)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"{", b"[" * 10_000, b"\n"])
def test_a_file_without_golden_answers_is_refused(
    bundle: Bundle, encoder: BundleEncoder, raw: bytes
) -> None:
    """Nothing to repeat would prove nothing."""
    with pytest.raises(GoldenMalformed):
        check_golden(replace(bundle, files={**bundle.files, GOLDEN: raw}), encoder)


def test_a_mismatch_is_a_bundle_error() -> None:
    """Whoever loads a bundle catches one root."""
    assert issubclass(GoldenMismatch, BundleError)
