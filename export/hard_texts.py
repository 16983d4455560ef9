"""Hard texts: what an encoder may be given and no archive holds, for calibration and its gate."""

from __future__ import annotations

import json

import numpy as np

from contract.invariance import TokenIds
from export.sentence_check import TEXTS
from training.checkpoint import StudentCheckpoint

# Beside `TEXTS`, which calibration sees as well: one thing over and over, and marks alone.
UNSEEN_TEXTS = (
    "😀" * 40,
    "a" * 300,
    "!?" * 60,
    "[SEP] [CLS] [MASK]" * 8,
    "0" * 200,
    "zß水🍌 \u200d\ufeff",
    "ΑΒΓ δεζ ηθι",
    "https://example.org/?z=1" * 10,
    "the " * 64,
)
UNSEEN_ROWS, UNSEEN_SEED = 16, 1


def hard_rows(checkpoint: StudentCheckpoint) -> TokenIds:
    """Return token ids of hard texts, most of which calibration has not seen."""
    rows = checkpoint.tokenizer().rows([*TEXTS, *UNSEEN_TEXTS])
    return [*rows, *random_rows(checkpoint, UNSEEN_ROWS, seed=UNSEEN_SEED)]


def random_rows(checkpoint: StudentCheckpoint, count: int, *, seed: int) -> TokenIds:
    """Draw texts of any tokens and length, begun and ended as all are; they hold the special ones.

    Every special token takes its turn, one in each text.
    """
    random = np.random.default_rng(seed)
    tokenizer, rows = checkpoint.tokenizer(), []
    frame = tokenizer.rows([""])[0]
    known = min(tokenizer.largest_id + 1, checkpoint.model.architecture.vocabulary)
    special = _special_ids(checkpoint.tokenizer_json, tokenizer.pad_id, frame)
    for number in range(count):
        length = random.integers(1, checkpoint.spec.max_tokens - len(frame), endpoint=True)
        ids = random.integers(0, known, length)
        ids[random.integers(length)] = special[number % len(special)]
        middle = len(frame) // 2
        rows.append([*frame[:middle], *ids.tolist(), *frame[middle:]])
    return rows


def _special_ids(tokenizer_json: bytes, pad_id: int, frame: list[int]) -> list[int]:
    added = json.loads(tokenizer_json).get("added_tokens", [])
    return sorted({pad_id, *frame, *(token["id"] for token in added)})
