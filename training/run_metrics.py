"""Run metrics: metrics.jsonl, a line for every step and epoch of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.files import append_line, flush, write_bytes
from training.resume import Position


class RunMetrics:
    """Append to metrics.jsonl, read it, and cut it back to a position that was saved."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "metrics.jsonl"

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line."""
        append_line(self._path, json.dumps(record))

    def records(self) -> list[dict[str, Any]]:
        """Return every whole line."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        # A killed run may leave half a line.
        return [json.loads(line) for line in lines if line.endswith("}")]

    def forget_after(self, position: Position) -> None:
        """Keep what had been done when the position was saved; the rest will be done again."""
        kept = [
            record
            for record in self.records()
            if position.covers(record["stage"], record["step"], epoch=record.get("epoch", 0))
        ]
        content = "".join(json.dumps(record) + "\n" for record in kept)
        write_bytes(self._path, content.encode())

    def flush(self) -> None:
        """Wait until every line is on the disk."""
        flush(self._path)
