"""The browser that the tests use: what goes wrong on a page is known, phones are phones."""

from tests.browser.chromium import Page
from tests.serving import Service

UNCAUGHT = "new Promise(done => { setTimeout(done, 50); setTimeout(() => { throw Error('two') }) })"


def test_what_goes_wrong_on_a_page_is_known(page: Page, served: Service) -> None:
    """What a script complains of or fails by, and what the service did not have."""
    page.open(f"{served.url}/status")
    assert page.problems == []
    page.evaluate("console.error('one')")
    page.evaluate(UNCAUGHT)
    page.evaluate("fetch('/v1/three').then(answer => answer.status)")
    one, two, three = page.problems
    assert one.startswith("one")
    assert two == "two"
    assert "404" in three
    assert "/v1/three" in three
    page.problems.clear()


def test_a_narrow_window_is_a_phone_of_its_own(page: Page, served: Service) -> None:
    """One that shows a page as wide as the page wants it; another device keeps another history."""
    kept = "localStorage.getItem('newsbert.history')"
    page.open(served.url)
    page.evaluate("localStorage.setItem('newsbert.history', '[]')")
    page.show(390)
    page.open(served.url)
    assert page.evaluate(kept) != "[]"
    assert page.evaluate("innerWidth") == 390
    page.tab.goto("data:text/html,<p>As wide as on a desk, for no phone was thought of.")
    assert page.evaluate("innerWidth") > 900
