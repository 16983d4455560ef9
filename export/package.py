"""Package: a checkpoint's graphs, measured against it, assembled and written as a bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

import numpy as np

from contract import bundle as b
from contract.encoder import BundleEncoder, open_session
from contract.golden import make_golden, verified_encoder
from contract.invariance import TokenIds, batch_cosine
from contract.mind import MindFolder
from contract.tokens import TextTokenizer, pad
from contract.vectors import cosine
from export.calibration import calibration_record, calibration_rows, measure_reach
from export.checks import check_graph, check_paths
from export.errors import UnsupportedModel
from export.golden_cases import golden_cases
from export.graph import news_encoder_graph, user_encoder_graph
from export.hard_texts import hard_rows
from export.model_card import is_mind, model_card
from export.parameters import NewsParameters, Pooling, news_parameters, user_parameters
from export.parity import (
    ParityBudget,
    ParityReport,
    Variant,
    compare,
    measure,
    shown_articles,
)
from export.precision import Float32, Precision, StoredFloat16
from export.quantize import RowwiseInt8
from export.reference import TorchReference
from export.static_scales import StaticInt8, with_static_scales
from training.checkpoint import StudentCheckpoint

Files = Mapping[str, bytes]
Scheme: TypeAlias = Literal["static", "row"]
INVARIANCE_TEXTS = 64
LOCAL_FOLDER = re.compile(r"^(?:[./~\\]|[A-Za-z]:\\)")


@dataclass(frozen=True)
class Graphs:
    """Everything that encodes, in float32 and as it ships."""

    fp32: Files
    shipped: Files


def export_bundle(
    checkpoint: StudentCheckpoint,
    *,
    dev: MindFolder,
    samples: MindFolder,
    target: Path,
    scheme: Scheme = "static",
    budget: ParityBudget | None = None,
) -> tuple[b.Bundle, ParityReport]:
    """Build, measure and write; over the budget raises ParityExceeded and writes nothing.

    The same checkpoint and samples give the same namespace, and with the same `dev` the same model.
    """
    calibration = calibration_rows(checkpoint, samples) if scheme == "static" else ()
    graphs = build_graphs(checkpoint, calibration=calibration)
    parity = measure_parity(checkpoint, graphs, dev)
    parity.require(budget or ParityBudget())
    encoder = BundleEncoder(draft(checkpoint, graphs.shipped))
    cases = golden_cases(samples, encoder, checkpoint.spec)
    on_mind = is_mind(checkpoint.provenance, dev)
    files = {
        **graphs.shipped,
        b.GOLDEN: make_golden(encoder, encoder.click_model, cases),
        b.MODEL_CARD: model_card(without_folders(checkpoint), parity, trained_on_mind=on_mind),
    }
    provenance = {**_plain(checkpoint.provenance), "quantisation": _quantisation(calibration)}
    check_paths({**files, b.MANIFEST: b.canonical_json(provenance)})
    quality = _quality(checkpoint, parity)
    facts = b.Facts(**_shape(checkpoint), quality=quality, provenance=provenance)
    # Checked as a serving process would, before it is put in place.
    bundle = b.write_bundle(target, files, facts, check=lambda folder: verified_encoder(folder)[0])
    return bundle, parity


def build_graphs(checkpoint: StudentCheckpoint, *, calibration: TokenIds = ()) -> Graphs:
    """Build both precisions and refuse what no bundle may hold.

    Scales are static if there are texts to calibrate them on, else each row of activations has its
    own.
    """
    require_rows(checkpoint)
    shared = {
        b.CLICK_MODEL: checkpoint.model.click_model.to_contract().to_json(),
        b.TOKENIZER: checkpoint.tokenizer_json,
        b.TOPICS: b.canonical_json(checkpoint.topics),
    }
    news = news_parameters(checkpoint.model, max_tokens=checkpoint.spec.max_tokens)
    user = user_parameters(checkpoint.model)
    fp32 = _encoders(news, Float32(), user, Float32())
    if calibration:
        static = with_static_scales(news, measure_reach(checkpoint.model, calibration))
        shipped = _encoders(static, StaticInt8(), user, StoredFloat16())
    else:
        shipped = _encoders(news, RowwiseInt8(), user, StoredFloat16())
    return Graphs({**shared, **fp32}, {**shared, **shipped})


def measure_parity(
    checkpoint: StudentCheckpoint, graphs: Graphs, folder: MindFolder
) -> ParityReport:
    """Measure checkpoint and graphs on a folder's impressions, the graphs as the service runs them.

    The torch figures use the click model that ships, so that only encoding differs.
    """
    shown = shown_articles(folder)
    click_model = checkpoint.model.click_model.to_contract()
    reference = measure(shown, TorchReference(checkpoint), click_model, checkpoint.spec)

    def variant(files: Files) -> Variant:
        encoder = BundleEncoder(draft(checkpoint, files))
        found = measure(shown, encoder, encoder.click_model, checkpoint.spec)
        return compare(reference, found, size_bytes=sum(map(len, files.values())))

    return ParityReport(
        torch=reference.metrics,
        torch_texts_per_s=reference.texts_per_s,
        fp32=variant(graphs.fp32),
        int8=variant(graphs.shipped),
        batch_cosine=_batch_cosine(checkpoint, graphs.shipped[b.NEWS_ENCODER], shown),
        hard_cosine=_hard_cosine(checkpoint, graphs.shipped[b.NEWS_ENCODER]),
        texts=len(shown.articles),
    )


def draft(checkpoint: StudentCheckpoint, files: Files) -> b.Bundle:
    """Return files as a bundle that is not written yet, for the encoder that the service uses."""
    manifest = b.Manifest(namespace="", **_shape(checkpoint), files={}, quality={}, provenance={})
    return b.Bundle(manifest=manifest, model="", files=files)


def require_rows(checkpoint: StudentCheckpoint) -> None:
    """Raise UnsupportedModel when the tokenizer has ids that the model has no row for."""
    known, rows = checkpoint.tokenizer().vocabulary, checkpoint.model.architecture.vocabulary
    if known > rows:
        raise UnsupportedModel(f"the tokenizer knows {known} tokens, the model only {rows}")


def _encoders(
    news: NewsParameters, news_precision: Precision, user: Pooling, user_precision: Precision
) -> Files:
    files = {
        b.NEWS_ENCODER: news_encoder_graph(news, news_precision),
        b.USER_ENCODER: user_encoder_graph(user, user_precision),
    }
    for name, graph in files.items():
        check_graph(name, graph)
    return files


def _batch_cosine(checkpoint: StudentCheckpoint, graph: bytes, folder: MindFolder) -> float:
    tokenizer: TextTokenizer = checkpoint.tokenizer()
    picked = np.linspace(0, len(folder.articles) - 1, INVARIANCE_TEXTS).astype(int)
    texts = [checkpoint.spec.text(folder.articles[i]) for i in picked]
    rows = tokenizer.rows(texts)
    return batch_cosine(graph, rows, pad_id=tokenizer.pad_id, max_tokens=checkpoint.spec.max_tokens)


def _hard_cosine(checkpoint: StudentCheckpoint, graph: bytes) -> float:
    rows, session = hard_rows(checkpoint), open_session(graph)
    expected, pad_id = (
        TorchReference(checkpoint).vectors_of_rows(rows),
        checkpoint.tokenizer().pad_id,
    )
    tokens = (pad([row], pad_id) for row in rows)
    found = [session.run(["vector"], {"ids": t.ids, "mask": t.mask})[0] for t in tokens]
    return float(np.min(cosine(expected, np.concatenate(found))))


def _quantisation(calibration: TokenIds) -> dict[str, Any]:
    """Say what `build_graphs` made of these texts."""
    if not calibration:
        return {"scheme": "row"}
    return {"scheme": "static", "calibration": calibration_record(calibration)}


def _shape(checkpoint: StudentCheckpoint) -> dict[str, Any]:
    architecture = checkpoint.model.architecture
    return {
        "dim": architecture.dim,
        "layers": architecture.layers,
        "topics": len(checkpoint.topics),
        "text": checkpoint.spec,
    }


def _quality(checkpoint: StudentCheckpoint, parity: ParityReport) -> dict[str, Any]:
    return {"at_training": checkpoint.metrics, "parity": parity.quality()}


def without_folders(checkpoint: StudentCheckpoint) -> StudentCheckpoint:
    """Return the checkpoint with a provenance that names no folder of the machine."""
    return StudentCheckpoint(
        model=checkpoint.model,
        spec=checkpoint.spec,
        tokenizer_json=checkpoint.tokenizer_json,
        topics=checkpoint.topics,
        provenance=_plain(checkpoint.provenance),
        metrics=checkpoint.metrics,
    )


def _plain(provenance: Any) -> Any:  # noqa: ANN401 (JSON of any depth)
    """Shorten local folders to their last two names: a bundle says nothing of its machine."""
    if isinstance(provenance, dict):
        return {name: _plain(value) for name, value in provenance.items()}
    if isinstance(provenance, list):
        return [_plain(value) for value in provenance]
    if isinstance(provenance, str) and LOCAL_FOLDER.match(provenance):
        return "/".join(PurePosixPath(provenance.replace("\\", "/")).parts[-2:]).lstrip("./~")
    return provenance
