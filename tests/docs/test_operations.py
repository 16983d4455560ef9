"""The tables of docs/operations.md are those of the code.

`python -m tests.docs.test_operations` writes them anew.
"""

import re
from pathlib import Path

import pytest

from service.answer import Degraded, Empty
from service.settings import Settings
from service.telemetry import Telemetry

ROOT = Path(__file__).resolve().parents[2]
PAGE, SERVICE = ROOT / "docs/operations.md", ROOT / "service"
ENDINGS = {"counter": "_total"}


def settings_table() -> str:
    """Write the settings as a Markdown table."""
    rows = [
        f"| `NEWSBERT_{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows])


def metrics_table() -> str:
    """Write the metrics as a Markdown table, with the names that are scraped."""
    rows = [
        f"| `{one.name}{ENDINGS.get(one.type, '')}` | {one.type} | {one.documentation} |"
        for one in Telemetry().registry.collect()
    ]
    return "\n".join(["| metric | type | what it is |", "|---|---|---|", *rows])


TABLES = {"settings": settings_table, "metrics": metrics_table}


def with_tables(page: str) -> str:
    """Return a page with its generated tables as the code has them now."""
    for name, table in TABLES.items():
        before, begin, rest = page.partition(f"<!-- {name}: generated -->\n")
        _, end, after = rest.partition(f"<!-- {name}: end -->\n")
        assert begin, f"the page has no place for the table of {name}"
        assert end, f"the table of {name} has no end"
        page = f"{before}{begin}{table()}\n{end}{after}"
    return page


def test_the_tables_are_those_of_the_code() -> None:
    """Every setting and metric, with its default, type and description, and nothing else."""
    page = PAGE.read_text("utf-8")
    assert with_tables(page) == page


@pytest.mark.parametrize("stated", ["`262144`", "| histogram |", "address to listen on"])
def test_a_table_that_has_rotted_is_noticed(stated: str) -> None:
    """The guard above can fail."""
    page = PAGE.read_text("utf-8")
    assert stated in page
    rotten = page.replace(stated, "something else")
    assert with_tables(rotten) == page


@pytest.mark.parametrize("marker", ["<!-- settings: generated -->", "<!-- metrics: end -->"])
def test_a_page_without_a_place_for_its_tables_is_noticed(marker: str) -> None:
    """A lost marker must not make the comparison an empty one."""
    page = PAGE.read_text("utf-8").replace(marker, "")
    with pytest.raises(AssertionError, match=r"the (page|table)"):
        with_tables(page)


@pytest.mark.parametrize("value", [*Degraded, *Empty])
def test_every_degradation_and_emptiness_is_explained(value: str) -> None:
    """An operator finds each word that an answer may carry."""
    assert f"`{value}`" in PAGE.read_text("utf-8")


def test_every_stage_is_explained() -> None:
    """Those that the service marks, and no others."""
    marked = {
        stage
        for file in SERVICE.rglob("*.py")
        for stage in re.findall(r"""\.mark\("(\w+)"\)""", file.read_text("utf-8"))
    }
    told = PAGE.read_text("utf-8").partition("| stage | routes |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == marked


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
