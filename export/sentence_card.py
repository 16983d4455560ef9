"""Sentence card: the README.md of a folder for sentence-transformers, in one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.article import Article
from contract.mind import MindFolder
from contract.text import TextSpec
from export.model_card import (
    OWN_DATA,
    RESEARCH_ONLY,
    architecture,
    at_training,
    data_used,
    is_mind,
    other_tasks,
    table_row,
)
from training.checkpoint import StudentCheckpoint

FRONT = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
- news
---"""
USE = """\
```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
vectors = model.encode({texts})  # (2, {dim}), unit length
model.similarity(vectors, vectors)
```

It needs sentence-transformers {requires}, and neither `trust_remote_code` nor the package that made
it. There are no prompts: articles and queries are encoded alike. Vectors have unit length, so
cosine and inner product are one."""
INSIDE = """\
Additive attention pooling is no stock module. Two `Dense` layers with GLU, which work on every
token, and a mean stand for it: the first layer gives the projected token and what its score is made
of, the second weighs the one by the exponential of the other, and `Normalize` divides by what
softmax would have. At export the folder was read back: on a list of texts, alone and in batches,
its vectors had a cosine of at least 0.9999 with the trained model's.

- float32 is what was checked; float16 is close to it, in bfloat16 the attention weights are rough.
- This is the news encoder alone. The user encoder, the click model and the topic head are in the
  bundle that `newsbert export` writes without `--to`. A bundle's vectors are int8's: near to these,
  not the same, and not to be mixed with them."""
NEITHER = f"{OWN_DATA} If that was MIND: research use only."
EXAMPLE = {"topic": "sports", "subtopic": "soccer", "title": "Title", "abstract": "Abstract"}
TITLES = ("Underdogs win the cup", "Coach quits")
HEADER = "| | AUC | MRR | nDCG@5 | nDCG@10 |\n|---|---|---|---|---|"


def sentence_card(checkpoint: StudentCheckpoint, *, requires: str) -> bytes:
    """Write the card from the checkpoint's figures; no figure of it is measured here."""
    spec, provenance = checkpoint.spec, checkpoint.provenance
    texts = [spec.text(_article(title=title, abstract="")) for title in TITLES]
    sections = (
        FRONT,
        f"# News encoder, {architecture(checkpoint)}",
        f"Distilled from `{provenance.get('teacher', 'an unnamed teacher')}`; "
        "made by `newsbert export --to sentence-transformers`.",
        f"## Licence\n\n{RESEARCH_ONLY if is_mind(provenance, MindFolder([], [])) else NEITHER}",
        "## Use\n\n"
        + USE.format(texts=texts, dim=checkpoint.model.architecture.dim, requires=requires),
        f"## Text\n\n{_text(spec)}",
        f"## Inside\n\n{INSIDE}",
        f"## Quality\n\n{_quality(checkpoint)}",
        f"## Other tasks\n\n{other_tasks(checkpoint)}",
        f"## Data\n\nTrained on, or (dev) measured with:\n\n{data_used(provenance)}",
    )
    return ("\n\n".join(sections) + "\n").encode()


def _text(spec: TextSpec) -> str:
    cut = (
        f", the abstract cut at {spec.abstract_chars} characters"
        if "abstract" in spec.fields
        else ""
    )
    return (
        f"The fields of an article are {', '.join(spec.fields)}, joined like this{cut}:\n\n"
        f"    {spec.text(_article())}\n\n"
        "Blank fields are left out; white space is collapsed, a control character is a blank, and "
        f"Unicode is composed (NFC). A query is its words. {spec.max_tokens} tokens are read."
    )


def _article(**fields: str) -> Article:
    return Article(id="N1", **{**EXAMPLE, **fields})


def _quality(checkpoint: StudentCheckpoint) -> str:
    rows = [
        table_row(f"{name}, at training", figures)
        for name in ("teacher", "student")
        if (figures := _recommendation(checkpoint, name))
    ]
    if not rows:
        return "Not measured."
    return "\n".join([HEADER, *(f"| {' | '.join(row)} |" for row in rows)])


def _recommendation(checkpoint: StudentCheckpoint, name: str) -> Mapping[str, Any]:
    figures: Mapping[str, Any] = at_training(checkpoint, name).get("recommendation", {})
    return figures
