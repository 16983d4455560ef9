"""What the pages' scripts work out, in the browser that they are for: history, timings, words."""

import json
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.serving import Service


def by_module(page: Page, served: Service, module: str, expression: str) -> Any:
    """Evaluate an expression with a module of the pages as `m`."""
    page.open(f"{served.url}/status")
    return page.evaluate(f"import('/page/{module}.js').then(m => {expression})")


def test_a_history_keeps_the_last_fifty_each_once(page: Page, served: Service) -> None:
    """What is read again moves to the end; without a storage it lasts while the page is open."""
    made = (
        "(h => { for (let i = 0; i < 60; i++) h.add({id: 'N' + i, title: 'T'});"
        " h.add({id: 'N30', title: 'T'}); return h.ids })(new m.History(null))"
    )
    ids = by_module(page, served, "history", made)
    assert ids == [f"N{i}" for i in [*range(10, 30), *range(31, 60), 30]]


def test_titles_that_are_hidden_are_not_kept(page: Page, served: Service) -> None:
    """Neither in the page nor in the storage; hiding what is hidden already changes nothing."""
    made = (
        "(h => { h.add({id: 'A', title: 'one'}, {id: 'B', title: 'two'});"
        " return [h.hide(['A', 'C']), h.hide(['A']), localStorage.getItem('newsbert.history')] })"
        "(new m.History(localStorage))"
    )
    first, second, kept = by_module(page, served, "history", made)
    assert (first, second) == (True, False)
    assert json.loads(kept) == [{"id": "A", "title": ""}, {"id": "B", "title": "two"}]


def test_the_stages_of_an_answer_are_read(page: Page, served: Service) -> None:
    """In their order, with the total; another header has none."""
    header = "body;dur=0.261, search;dur=12.5, total;dur=13"
    stages = by_module(page, served, "asking", f"m.parsed({header!r})")
    assert [(one["name"], one["ms"]) for one in stages] == [
        ("body", 0.261), ("search", 12.5), ("total", 13),
    ]  # fmt: skip
    assert by_module(page, served, "asking", "m.parsed('cache;desc=hit')") == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("m.short(0.1234)", "0.12"),
        ("m.short(-12.34)", "-12.3"),
        ("m.short(123.4)", "123"),
        ("m.short(12345.6)", "12,346"),
        ("m.signed(-0.5)", "\u22120.50"),
        ("m.signed(0.5)", "+0.50"),
        ("m.count(1, 'article')", "1 article"),
        ("m.count(1000, 'article')", "1,000 articles"),
        ("m.tally(['b', 'a', 'c', 'c'])", "c 2, a 1, b 1"),
        ("m.ago('2026-01-01T00:00:00Z', Date.UTC(2026, 0, 1, 0, 0, 59))", "just now"),
        ("m.ago('2026-01-01T00:00:00Z', Date.UTC(2026, 0, 1, 5))", "5 hours ago"),
        ("m.ago('2026-01-01T00:00:00Z', Date.UTC(2026, 0, 2))", "1 day ago"),
        ("m.ago('2026-01-03T00:00:00Z', Date.UTC(2026, 0, 1))", "in 2 days"),
    ],
)
def test_numbers_and_times_are_worded(
    page: Page, served: Service, expression: str, text: str
) -> None:
    """Short, with their units, in English."""
    assert by_module(page, served, "words", expression) == text
