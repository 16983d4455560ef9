"""What can go wrong in export, as one tree.

ExportError
├── UnsupportedModel   the checkpoint's architecture has no graph here
├── GraphRefused       a graph or file holds what no bundle may hold
├── SamplesMissing     there are no articles to record golden answers of
├── ParityExceeded     the graphs are further from the checkpoint than the budget allows
├── VectorsDiffer      a folder encodes a text otherwise than the checkpoint
└── FolderRefused      what stands in a folder's place is not an earlier export
"""

from __future__ import annotations

from collections.abc import Sequence


class ExportError(Exception):
    """Stand for every failure that a person can answer."""


class UnsupportedModel(ExportError):
    """Say what about the checkpoint's architecture is not supported."""


class GraphRefused(ExportError):
    """Name the file and what it must not hold."""


class SamplesMissing(ExportError):
    """Say where articles for the golden answers were looked for."""


class ParityExceeded(ExportError):
    """Name every figure that is over the parity budget."""

    def __init__(self, excesses: Sequence[str]) -> None:
        super().__init__(f"no bundle written, over the parity budget: {'; '.join(excesses)}")
        self.excesses = tuple(excesses)


class VectorsDiffer(ExportError):
    """Say how far a folder's vectors are from the checkpoint's, and on which text."""

    def __init__(self, found: float, least: float, text: str) -> None:
        super().__init__(
            f"no folder written, its vectors differ: cosine {found:.6f} on {text[:40]!r}, "
            f"at least {least} is asked for"
        )


class FolderRefused(ExportError):
    """Name the folder that is not replaced, and why."""
