"""Where the evaluation data is that some tests read: beside the checkout, and not everywhere."""

from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data"
