"""Golden answers: what the encoder gave at export, repeated by every process that loads it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from contract.article import Vectors
from contract.bundle import GOLDEN, Bundle, BundleError, open_bundle
from contract.encoder import BundleEncoder
from contract.evaluation import encode_users
from contract.scoring import ClickModel

# Another processor's int8 kernels may round otherwise; ranks must stay (architecture section 3).
MIN_COSINE = 0.995
TOP = 10


class GoldenMismatch(BundleError):
    """The encoder does not give the answers that the bundle recorded."""


class GoldenCase(TypedDict):
    """One history and its candidates, as texts."""

    history: list[str]
    candidates: list[str]


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """The least cosine to the recorded vectors, over so many texts and rankings."""

    min_cosine: float
    texts: int
    rankings: int


def verified_encoder(path: Path, *, threads: int = 1) -> tuple[Bundle, BundleEncoder]:
    """Open a bundle and repeat its golden answers; raise the BundleError of what is wrong."""
    bundle = open_bundle(path)
    encoder = BundleEncoder(bundle, threads=threads)
    check_golden(bundle, encoder)
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


def check_golden(bundle: Bundle, encoder: BundleEncoder) -> GoldenReport:
    """Repeat every recorded answer; raise GoldenMismatch on a vector or a top 10 that differs."""
    cases = [json.loads(line) for line in bundle.file(GOLDEN).splitlines()]
    cosines = []
    for case in cases:
        vectors, scores = _answer(encoder, encoder.click_model, case)
        cosines.append(_min_cosine(vectors, np.asarray(case["vectors"], dtype=np.float32)))
        if not set(_order(scores)) == set(case["order"]):
            raise GoldenMismatch(f"another top {TOP} than the bundle recorded")
    # NumPy's minimum keeps a NaN, Python's may drop it.
    least = float(np.min(cosines, initial=1.0))
    if not least >= MIN_COSINE:
        raise GoldenMismatch(
            f"cosine {least:.4f} to a recorded vector, at least {MIN_COSINE} needed"
        )
    texts = sum(len(case["history"]) + len(case["candidates"]) for case in cases)
    return GoldenReport(least, texts, len(cases))


def _answer(
    encoder: BundleEncoder, click_model: ClickModel, case: GoldenCase
) -> tuple[Vectors, Vectors]:
    count = len(case["history"])
    vectors = encoder.vectors([*case["history"], *case["candidates"]])  # (H + C, D)
    user = encode_users(encoder, vectors, [range(count)])[0]  # (D,)
    return vectors, click_model.score(user, vectors[:count], vectors[count:])


def _order(scores: Vectors) -> list[int]:
    return [int(i) for i in np.argsort(-scores, kind="stable")[:TOP]]


def _min_cosine(a: Vectors, b: Vectors) -> float:
    if a.shape != b.shape:
        return float("nan")
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore"):  # a zero vector gives NaN, which is refused
        return float(((a * b).sum(axis=1) / norms).min())
