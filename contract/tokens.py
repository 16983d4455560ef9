"""Canonical text to padded token ids and mask: the one tokeniser call of the project."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids and mask, both (B, T) int64; mask is 1 where a token is and 0 where padding is."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]


class TextTokenizer:
    """Tokenise with the `tokenizer.json` of a bundle or checkpoint, cut at `max_tokens`.

    From the first one on the library stays on its callers' threads, in the whole process, unless
    the environment variable TOKENIZERS_PARALLELISM says otherwise.
    """

    def __init__(self, json: bytes, max_tokens: int) -> None:
        # It would spread each call over all cores, which several processes and threads share.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = Tokenizer.from_buffer(json)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self.pad_id = _pad_id(self._tokenizer)

    @property
    def vocabulary(self) -> int:
        """Return the number of token ids."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def largest_id(self) -> int:
        """Return the largest token id of the vocabulary; ids need not be without gaps."""
        return max(self._tokenizer.get_vocab().values(), default=0)

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids, unpadded."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenise texts, padded to the longest of them: (B,) -> (B, T)."""
        return pad(self.rows(texts), self.pad_id)


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> Tokens:
    """Pad token ids to the longest row: (B,) -> (B, T); T is at least 1."""
    length = max((len(row) for row in rows), default=0) or 1
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)  # (B, T)
    mask = np.zeros((len(rows), length), dtype=np.int64)  # (B, T)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return Tokens(ids, mask)


def _pad_id(tokenizer: Tokenizer) -> int:
    for token in ("[PAD]", "<pad>"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return 0
