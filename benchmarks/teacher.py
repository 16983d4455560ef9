"""A pretrained encoder as it is commonly run: PyTorch, mean pooling, batches of 32 by length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.comparison import BenchmarkError
from contract.article import Vectors

BATCH = 32


class TorchTeacher:
    """Texts to unit vectors with a transformer from a hub id or local folder, in float32."""

    def __init__(self, source: str, *, max_tokens: int, threads: int) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._torch: Any = torch
        self._threads = threads
        self._max_tokens = max_tokens
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
            self._model: Any = AutoModel.from_pretrained(source).float().eval()
        except (OSError, ValueError) as error:
            line = str(error).splitlines()[0]
            raise BenchmarkError(f"teacher {source}: {line}; see --teacher") from error

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length, in the order given."""
        self._torch.set_num_threads(self._threads)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with self._torch.inference_mode():
            parts = [
                self._encode([texts[i] for i in order[start : start + BATCH]])
                for start in range(0, len(order), BATCH)
            ]
        result = np.empty((len(order), parts[0].shape[1]), np.float32)  # (N, D)
        result[order] = np.concatenate(parts)
        return result

    def _encode(self, texts: Sequence[str]) -> Vectors:
        tokens = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        )
        hidden = self._model(**tokens).last_hidden_state  # (B, T, D)
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        mean = (hidden * mask).sum(1) / mask.sum(1)  # (B, D)
        unit: Vectors = self._torch.nn.functional.normalize(mean, dim=1).numpy()
        return unit
