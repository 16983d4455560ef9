"""The page of training results is what the figures kept beside it give, byte for byte.

`python -m training.study page --from docs/results/training.json` writes it anew.
"""

from pathlib import Path

import pytest

from training.study.evidence import Evidence, read_evidence, to_json
from training.study.tables import page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results"
PAGE, KEPT = FOLDER / "training.md", FOLDER / "training.json"
MAX_BYTES = 1_500_000


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """Read the committed figures."""
    return read_evidence(KEPT)


def test_the_page_is_what_the_figures_give(evidence: Evidence) -> None:
    """No figure on it was typed."""
    assert PAGE.read_text("utf-8") == page(evidence)


def test_a_page_that_says_something_else_is_noticed(evidence: Evidence) -> None:
    """A figure that has changed, or a row that is gone, makes another page."""
    row = evidence.rows[0]
    changed = row.model_copy(update={"figures": {"1": {"auc": 0.1234}}, "units": {}})
    rows = (changed, *evidence.rows[1:])
    assert page(evidence.model_copy(update={"rows": rows})) != PAGE.read_text("utf-8")


def test_the_figures_are_small_and_in_their_one_form(evidence: Evidence) -> None:
    """They can be kept beside the page, and a difference between two versions can be read."""
    assert KEPT.stat().st_size < MAX_BYTES
    assert KEPT.read_text("utf-8") == to_json(evidence)
