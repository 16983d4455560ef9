"""Golden answers: what the encoder gave at export, repeated by every process that loads it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from contract.article import Vectors
from contract.bundle import GOLDEN, NEWS_ENCODER, USER_ENCODER, Bundle, open_bundle
from contract.bundle_errors import (
    GoldenMalformed,
    GoldenMismatch,
    GraphFailed,
    refusing,
)
from contract.contents import check_contents
from contract.encoder import BundleEncoder
from contract.evaluation import encode_users
from contract.lines import place_and_problem
from contract.probing import check_means, check_shapes
from contract.scoring import ClickModel
from contract.vectors import cosine

# Another processor's int8 kernels may round otherwise; ranks must stay (architecture section 3).
MIN_COSINE = 0.995
TOP = 10


class GoldenCase(TypedDict):
    """One history and its candidates, as texts."""

    history: list[str]
    candidates: list[str]


class RecordedCase(BaseModel):
    """A case with its recorded answers: vectors (H + C, D), scores (C,), the order of the top."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    history: list[str]
    candidates: list[str]
    vectors: list[list[float]]
    scores: list[float]
    order: list[int]

    @property
    def texts(self) -> list[str]:
        """Return the texts in the order of the vectors."""
        return [*self.history, *self.candidates]

    def is_whole(self) -> bool:
        """Tell whether there is an answer for each text and a top of the candidates."""
        count = len(self.candidates)
        return (
            count > 0
            and len(self.vectors) == len(self.texts)
            and len({len(vector) for vector in self.vectors}) == 1
            and len(self.scores) == count
            and len(self.order) == len(set(self.order)) == min(TOP, count)
            and set(self.order) <= set(range(count))
        )


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """The least cosine to the recorded vectors, over so many texts and rankings."""

    min_cosine: float
    texts: int
    rankings: int


def verified_encoder(path: Path, *, threads: int = 1) -> tuple[Bundle, BundleEncoder]:
    """Open a bundle and make every check of a serving process; raise the BundleError."""
    bundle = open_bundle(path)
    check_contents(bundle)
    encoder = BundleEncoder(bundle, threads=threads)
    check_shapes(bundle, encoder)
    check_golden(bundle, encoder)
    check_users(bundle, encoder)
    return bundle, encoder


def make_golden(
    encoder: BundleEncoder, click_model: ClickModel, cases: Sequence[GoldenCase]
) -> bytes:
    """Record vectors, scores and order for the cases, one JSON object a line."""
    lines = []
    for case in cases:
        vectors, scores = _answer(encoder, click_model, case)
        lines.append(
            {
                **case,
                "vectors": [[round(float(x), 5) for x in row] for row in vectors],
                "scores": [round(float(x), 5) for x in scores],
                "order": _order(scores),
            }
        )
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def recorded_cases(bundle: Bundle) -> list[RecordedCase]:
    """Read the golden answers; raise GoldenMalformed where they are none, or no answers."""
    cases = list(_read_cases(bundle.file(GOLDEN)))
    if not cases:
        raise GoldenMalformed(GOLDEN, "no answer is recorded")
    return cases


def check_golden(bundle: Bundle, encoder: BundleEncoder) -> GoldenReport:
    """Repeat every recorded answer; raise GoldenMismatch on a vector or a top 10 that differs."""
    cases, cosines = recorded_cases(bundle), []
    for case in cases:
        question = GoldenCase(history=case.history, candidates=case.candidates)
        with np.errstate(all="ignore"):  # what overflows gives no number, which is refused
            vectors, scores = _answer(encoder, encoder.click_model, question)
            cosines.append(_min_cosine(vectors, np.asarray(case.vectors, dtype=np.float32)))
        if not np.isfinite(scores).all():
            raise GoldenMismatch(GOLDEN, "a score is no number")
        if set(_order(scores)) != set(case.order):
            raise GoldenMismatch(GOLDEN, f"another top {TOP} than the bundle recorded")
    # NumPy's minimum keeps a NaN, Python's may drop it.
    least = float(np.min(cosines))
    if not least >= MIN_COSINE:
        raise GoldenMismatch(
            GOLDEN, f"cosine {least:.4f} to a recorded vector, at least {MIN_COSINE} needed"
        )
    return GoldenReport(least, sum(len(case.texts) for case in cases), len(cases))


def check_users(bundle: Bundle, encoder: BundleEncoder) -> int:
    """Make users of each recorded history, and of all the articles of its case; return how many.

    Raise GraphFailed where one is not the mean that serving relies on.
    """
    histories = []
    for case in recorded_cases(bundle):
        vectors = np.asarray(case.vectors, dtype=np.float32)
        histories += [vectors, *([vectors[: len(case.history)]] if case.history else [])]
    check_means(encoder, histories)
    return len(histories)


def _read_cases(raw: bytes) -> Iterator[RecordedCase]:
    for number, line in enumerate(raw.splitlines(), start=1):
        try:
            case = RecordedCase.model_validate_json(line)
        except ValidationError as error:
            raise GoldenMalformed(GOLDEN, f"line {number}: {place_and_problem(error)}") from error
        if not case.is_whole():
            raise GoldenMalformed(GOLDEN, f"line {number}: answers and texts do not match")
        yield case


def _answer(
    encoder: BundleEncoder, click_model: ClickModel, case: GoldenCase
) -> tuple[Vectors, Vectors]:
    count = len(case["history"])
    with refusing(GraphFailed, NEWS_ENCODER):
        vectors = encoder.vectors([*case["history"], *case["candidates"]])  # (H + C, D)
    with refusing(GraphFailed, USER_ENCODER):
        user = encode_users(encoder, vectors, [range(count)])[0]  # (D,)
    return vectors, click_model.score(user, vectors[:count], vectors[count:])


def _order(scores: Vectors) -> list[int]:
    return [int(i) for i in np.argsort(-scores, kind="stable")[:TOP]]


def _min_cosine(a: Vectors, b: Vectors) -> float:
    if a.shape != b.shape:
        return float("nan")
    return float(cosine(a, b).min())  # a zero vector gives NaN
