"""Model card: what a bundle is, how good, and what it may be used for, in one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.mind import MindFolder
from contract.ranking import RankingMetrics
from export.parity import ParityReport
from training.checkpoint import StudentCheckpoint

HEADER = "| | AUC | MRR | nDCG@5 | nDCG@10 | mean cosine | MB |\n|---|---|---|---|---|---|---|"
FIGURES = ("auc", "mrr", "ndcg5", "ndcg10")
RESEARCH_ONLY = (
    "Weights trained on MIND: research use only (Microsoft Research License Terms of the MIND "
    "dataset)."
)
OWN_DATA = "The weights are under the terms of the data that they were trained on."
LIMITS = """\
- Scores rank; they are not probabilities.
- The figures above are of one folder of impressions; measure on your own clicks before you rely on
  them (`newsbert evaluate BUNDLE --mind DIR`).
- The encoder sees the text specification's fields only, cut at its length; it knows the language
  and the period of its training data.
- The topic head knows the topics listed and no others, and is given text without its own topic.
"""


def model_card(
    checkpoint: StudentCheckpoint, parity: ParityReport, *, trained_on_mind: bool
) -> bytes:
    """Write the card from the checkpoint's figures and the parity report."""
    sections = (
        f"# News encoder, {architecture(checkpoint)}",
        f"Distilled from `{checkpoint.provenance.get('teacher', 'an unnamed teacher')}`; "
        "made by `newsbert export`.",
        f"## Licence\n\n{RESEARCH_ONLY if trained_on_mind else OWN_DATA}",
        f"## Text\n\nFields {', '.join(checkpoint.spec.fields)}, at most "
        f"{checkpoint.spec.max_tokens} tokens; the last {checkpoint.spec.history} clicks.",
        f"## Quality\n\n{_quality(checkpoint, parity)}",
        f"## Other tasks\n\n{other_tasks(checkpoint)}",
        f"## Topics\n\n{', '.join(checkpoint.topics)}",
        f"## Data\n\nTrained on, or (dev) measured with:\n\n{data_used(checkpoint.provenance)}",
        f"## Limits\n\n{LIMITS}",
    )
    return "\n\n".join(sections).encode()


def is_mind(provenance: Mapping[str, Any], folder: MindFolder) -> bool:
    """Tell whether the data is MIND: named so in the provenance, or by its articles' addresses."""
    named = any("mind" in str(provenance.get(key, "")).lower() for key in ("data", "licence"))
    return named or any("msn.com/labs/mind" in article.url for article in folder.articles)


def table_row(name: str, metrics: Mapping[str, Any], *more: str) -> list[str]:
    """Return a row of the quality table as texts; figures that are not known are blank."""
    known = [f"{metrics[f]:.4f}" if f in metrics else "" for f in FIGURES]
    return [name, *known, *more]


def at_training(checkpoint: StudentCheckpoint, model: str) -> Mapping[str, Any]:
    """Return what training measured of "student" or "teacher", by task; nothing if not known."""
    figures: Mapping[str, Any] = checkpoint.metrics.get(model, {})
    return figures


def other_tasks(checkpoint: StudentCheckpoint) -> str:
    """Say how well both models classify and search, in torch, as training measured it."""
    lines = [
        f"- {model}, {task}: {_figures(figures)}"
        for model in ("teacher", "student")
        for task, figures in _by_name(at_training(checkpoint, model)).items()
    ]
    return "\n".join(lines) or "Not measured."


def _by_name(tasks: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    topics = {f"topics of {name}": f for name, f in tasks.get("topics", {}).items()}
    return {**topics, **({"search": tasks["search"]} if "search" in tasks else {})}


def _figures(figures: Mapping[str, Any]) -> str:
    known = ((name, value) for name, value in figures.items() if value is not None)
    return ", ".join(f"{n} {v:.4f}" if isinstance(v, float) else f"{v:,} {n}" for n, v in known)


def architecture(checkpoint: StudentCheckpoint) -> str:
    """Name the shape in one line."""
    a = checkpoint.model.architecture
    return f"{a.layers} layers of {a.hidden} ({a.family}), vectors of {a.dim}"


def _quality(checkpoint: StudentCheckpoint, parity: ParityReport) -> str:
    def graph_row(name: str, variant: Any) -> list[str]:  # noqa: ANN401
        size = f"{variant.size_bytes / 1e6:.1f}"
        return table_row(
            name, variant.metrics.as_dict(), f"{variant.closeness.mean_cosine:.4f}", size
        )

    rows = [
        table_row("student, torch", parity.torch.as_dict(), "1.0000", ""),
        graph_row("student, ONNX fp32", parity.fp32),
        graph_row("student, ONNX int8 (shipped)", parity.int8),
    ]
    teacher = at_training(checkpoint, "teacher").get("recommendation")
    if teacher:
        rows.insert(0, table_row("teacher (at training)", teacher, "", ""))
    table = "\n".join([HEADER, *(f"| {' | '.join(row)} |" for row in rows)])
    return f"{table}\n\n{_remarks(parity.torch, parity)}"


def _remarks(metrics: RankingMetrics, parity: ParityReport) -> str:
    return (
        f"Means over {metrics.impressions:,} impressions and {parity.texts:,} texts. A text's "
        f"vector alone and in any batch: cosine at least {parity.batch_cosine:.4f}."
    )


def data_used(provenance: Mapping[str, Any]) -> str:
    """List what training and measurement read, each file with its hash."""
    hashes = provenance.get("data_sha256", {})
    lines = [f"- `{name}`: sha256 `{digest}`" for name, digest in sorted(hashes.items())]
    described = [str(provenance["data"]), ""] if "data" in provenance else []
    return "\n".join([*described, *lines]) or "Not recorded."
