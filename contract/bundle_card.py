"""Card: what a bundle is, how good, made of what and under which terms, for a terminal or as data.

A bundle's texts are its maker's: they are shown as one line each, without control characters.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from contract.bundle import MODEL_CARD, Bundle
from contract.bundle_errors import printable
from contract.topics import normalised, taxonomies, taxonomy_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COLUMNS = {
    "auc": "AUC",
    "mrr": "MRR",
    "ndcg5": "nDCG@5",
    "ndcg10": "nDCG@10",
    "mean_cosine": "mean cosine",
}
RANKED = {
    "at_training/teacher/recommendation": "teacher (at training)",
    "parity/torch": "student, torch",
    "parity/fp32": "student, ONNX fp32",
    "parity/int8": "student, ONNX int8 (shipped)",
}
LICENCE = re.compile(r"^## Licen[cs]e\s*\n+(.+?)\s*(?=^#|\Z)", re.MULTILINE | re.DOTALL)
SHA256, SHOWN_HASH = re.compile("[0-9a-f]{64}"), 12
MAX_VALUE = 2_000
MAX_LEAVES = 20
NOT_STATED = "not stated on the model card"

Figures = Mapping[str, float]


def card(bundle: Bundle) -> dict[str, Any]:
    """Return all that the manifest, the topics and the model card say, as plain data."""
    manifest = bundle.manifest
    names = normalised(bundle.topics)
    topics = {
        taxonomy: [n.partition("/")[2] for n in names if taxonomy_of(n) == taxonomy]
        for taxonomy in taxonomies(names)
    }
    return {
        "model": bundle.model,
        "namespace": bundle.namespace,
        "format_version": manifest.format_version,
        "layers": manifest.layers,
        "dim": manifest.dim,
        "text": manifest.text.model_dump(mode="json"),
        "topics": topics,
        "files": {name: len(raw) for name, raw in sorted(bundle.files.items())},
        "quality": manifest.quality,
        "provenance": manifest.provenance,
        "licence": licence(bundle.file(MODEL_CARD).decode(errors="replace")),
    }


def licence(model_card: str) -> str:
    """Return what a model card says under the heading Licence, as one line."""
    found = LICENCE.search(model_card)
    return " ".join(found[1].split()) if found else NOT_STATED


def card_tables(facts: Mapping[str, Any]) -> "Iterator[RenderableType]":
    """Lay a card out: what it is, files, quality, other figures, provenance, licence."""
    yield _pairs("Bundle", _identity(facts))
    sizes = {name: f"{size:,}" for name, size in facts["files"].items()}
    yield _pairs("Files", {**sizes, "total": f"{sum(facts['files'].values()):,} bytes"})
    rows = {"/".join(path): figures for path, figures in _rows(facts["quality"])}
    yield _quality(rows)
    others = {name: _line(figures) for name, figures in rows.items() if "auc" not in figures}
    yield _pairs("Other figures", others)
    yield _pairs("Provenance", {n: _origin(value) for n, value in facts["provenance"].items()})
    yield _pairs("Licence", {"": facts["licence"]})


def _identity(facts: Mapping[str, Any]) -> dict[str, str]:
    text = facts["text"]
    fields = ", ".join(text["fields"])
    return {
        "model": facts["model"],
        "namespace": facts["namespace"],
        "layers": str(facts["layers"]),
        "dim": str(facts["dim"]),
        "text": f"{fields}; at most {text['max_tokens']} tokens, "
        f"{text['abstract_chars']} characters of an abstract, the last {text['history']} clicks",
        **{
            f"{len(names)} topics of {taxonomy}": ", ".join(names)
            for taxonomy, names in facts["topics"].items()
        },
    }


def _quality(rows: Mapping[str, Figures]) -> "Table":
    from rich.text import Text

    table = _table("Quality: recommendation", "", *COLUMNS.values(), "MB")
    ranked = [name for name, figures in rows.items() if "auc" in figures]
    for name in sorted(ranked, key=lambda n: [*RANKED, n].index(n)):
        figures = rows[name]
        size = f"{figures['size_bytes'] / 1e6:.1f}" if "size_bytes" in figures else ""
        known = [f"{figures[f]:.4f}" if f in figures else "" for f in COLUMNS]
        table.add_row(Text(RANKED.get(name, printable(name))), *known, size)
    return table


def _pairs(title: str, pairs: Mapping[str, str]) -> "Table":
    from rich.text import Text

    table = _table(title, "", "")
    for name, value in pairs.items():
        # As Text, which knows no markup.
        table.add_row(Text(printable(name)), Text(printable(value, at_most=MAX_VALUE)))
    return table


def _table(title: str, *columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    return Table(
        *columns,
        title=title,
        title_justify="left",
        show_header=any(columns),
        box=box.SIMPLE_HEAD,
    )


def _rows(figures: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Figures]]:
    """Find the numbers at any depth: those beside each other are one row."""
    numbers = {n: v for n, v in figures.items() if isinstance(v, int | float) and abs(v) < 1e15}
    if numbers:
        yield path, numbers
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _rows(value, (*path, name))


def _line(figures: Figures) -> str:
    return ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value:,}"
        for name, value in figures.items()
    )


def _origin(value: object) -> str:
    leaves = dict(_leaves(value))
    if len(leaves) > MAX_LEAVES:
        return f"{len(leaves)} values (--json shows them)"
    return ", ".join(f"{name} {text}" if name else text for name, text in leaves.items())


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        text = str(value)
        yield path, text[:SHOWN_HASH] if SHA256.fullmatch(text) else text
        return
    for name, part in value.items():
        yield from _leaves(part, f"{path}.{name}" if path else name)
