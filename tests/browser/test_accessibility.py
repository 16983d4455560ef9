"""The pages by keyboard, by screen reader and in any light: axe-core, focus, names, live text."""

import json
import re
from itertools import pairwise

import pytest

from tests.browser.chromium import Page
from tests.serving import Service

GRAVE = ("serious", "critical")
FOCUSED = "document.activeElement"
# As Playwright writes an outline: a name in quotes after its role.
OPERABLE = r"- '?(?:button|link|slider|checkbox|radio|searchbox|region)\b"
UNNAMED = rf'{OPERABLE}(?! ")'
# How far a reader without a mouse has to go at most.
MOST_TABS = 40


def violations(page: Page) -> list[tuple[str, str]]:
    """Return what axe-core finds grave, each with the first place where it is."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page.tab).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in GRAVE]


def use(page: Page) -> None:
    """Bring everything onto the reader's page that it can show."""
    page.click("#front .title")
    page.settle()
    page.click("#compare")
    page.settle()
    page.click("#query")
    page.type("storm over the islands")
    page.press("Enter")
    page.expect("#ways .articles > li").to_have_count(15)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    page.expect(".similar li >> nth=50").to_be_attached()


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["wide", "phone"])
@pytest.mark.parametrize("path", ["/", "/status"])
def test_axe_finds_nothing_grave(
    page: Page, served: Service, path: str, width: int, is_dark: bool
) -> None:
    """As the page is opened, and with everything open that can be opened."""
    page.show(width, dark=is_dark)
    page.open(f"{served.url}{path}")
    assert violations(page) == []
    if path == "/":
        use(page)
        assert violations(page) == []


def test_axe_would_find_something(page: Page, served: Service) -> None:
    """A button without a name, and text that is too pale."""
    page.open(f"{served.url}/status")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    page.evaluate("document.querySelector('h1').style.color = '#eee'")
    assert {"button-name", "color-contrast"} <= {rule for rule, _ in violations(page)}


def test_a_keyboard_is_enough(page: Page, served: Service) -> None:
    """To read, to adjust, to search and to forget; the focus is always seen, and never lost."""
    page.open(served.url)
    page.press("Tab")
    assert page.evaluate(f"{FOCUSED}.getAttribute('href')") == "#for-you"
    assert page.evaluate(f"{FOCUSED}.getBoundingClientRect().top") >= 0
    tab_to(page, "#front .title")
    assert is_seen(page)
    first = page.evaluate(f"{FOCUSED}.textContent")
    page.press("Enter")
    page.expect("#history li").to_have_count(1)
    page.settle()
    assert page.evaluate(f"{FOCUSED}.textContent") == first
    page.press("Tab")
    page.press("Enter")
    page.expect("#front .similar[open] li").to_have_count(5)
    tab_to(page, "#half-life", most=120)
    page.press("ArrowRight")
    assert page.evaluate(f"{FOCUSED}.getAttribute('aria-valuetext')") == "30 days"
    tab_to(page, "#compare")
    page.press(" ")
    page.expect("#anyone > li").to_have_count(10)
    tab_to(page, "#query")
    page.type("storm over the islands")
    page.press("Enter")
    page.expect("#ways .articles > li").to_have_count(15)
    assert is_seen(page)


@pytest.mark.parametrize(("presses", "place"), [(1, "for-you"), (2, "wishes")])
def test_a_skip_link_leads_to_its_place(
    page: Page, served: Service, presses: int, place: str
) -> None:
    """The next key press is inside of it."""
    page.open(served.url)
    page.press("Tab", times=presses)
    page.press("Enter")
    page.press("Tab")
    assert page.evaluate(f"document.getElementById('{place}').contains({FOCUSED})")


def test_the_focus_goes_to_what_takes_the_place(page: Page, served: Service) -> None:
    """When a recommended article is read it leaves the list; the next one there has the focus."""
    page.open(served.url)
    page.evaluate("document.querySelector('#recommended > li:nth-child(3) .title').focus()")
    page.press("Enter")
    page.settle()
    assert page.evaluate(
        f"[...document.querySelectorAll('#recommended > li')].indexOf({FOCUSED}.closest('li'))"
    ) in range(10)
    page.evaluate("document.querySelector('#history button').focus()")
    page.press("Enter")
    page.expect("#history li").to_have_count(0)
    assert page.evaluate(f"{FOCUSED}.id") == "history-title"


def test_what_happened_is_said_once(page: Page, served: Service) -> None:
    """After each deed a live region tells it and what came of it; keeping up says nothing."""
    page.open(served.url)
    assert page.text("#said") == ""
    page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById('said')"
        ".textContent)).observe(document.getElementById('said'), {childList: true})"
    )
    title = page.texts("#front .title")[0]
    page.click("#front .title")
    page.wait_for("said.length")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for("performance.getEntriesByName(location.origin + '/v1/rank').length")
    (said,) = page.evaluate("said")
    assert said.startswith(f"Read: {title}.")
    assert "10 articles, by the click model, for your history (personal)." in said


def test_landmarks_and_headings_are_an_outline(page: Page, served: Service) -> None:
    """One main part, one first heading; no level is left out; each list has its heading."""
    for path in ("/", "/status"):
        page.open(f"{served.url}{path}")
        outline = page.tab.locator("body").aria_snapshot()
        for role in ("main", "banner", "navigation", "contentinfo"):
            assert len(re.findall(rf"^ *- {role}\b", outline, re.MULTILINE)) == 1
        levels = [int(one) for one in re.findall(r"- '?heading .*\[level=(\d)\]", outline)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        assert re.search(OPERABLE, outline)
        assert not re.search(UNNAMED, outline)
        # And what has no name would be noticed.
        page.evaluate("document.querySelector('main').append(document.createElement('button'))")
        assert re.search(UNNAMED, page.tab.locator("body").aria_snapshot())


def test_nothing_moves_for_who_wants_no_movement(page: Page, served: Service) -> None:
    """Neither by animation nor by smooth scrolling; others see what has arrived."""
    moving = "getComputedStyle(document.querySelector('#front > li')).animationName"
    page.open(served.url)
    assert page.evaluate(moving) == "none"
    page.show(moves=True)
    assert page.evaluate(moving) == "arrive"


def test_colours_follow_the_reader(page: Page, served: Service) -> None:
    """Light and dark by the system's own setting."""
    paper = "getComputedStyle(document.body).backgroundColor"
    page.open(served.url)
    light = page.evaluate(paper)
    page.show(dark=True)
    assert page.evaluate(paper) != light


def tab_to(page: Page, selector: str, *, most: int = MOST_TABS) -> None:
    """Press Tab until an element has the focus; each on the way must be seen to have it."""
    for _ in range(most):
        page.press("Tab")
        assert page.evaluate(f"{FOCUSED} !== document.body"), "the focus was lost"
        if page.evaluate(f"{FOCUSED}.matches({json.dumps(selector)})"):
            return
    raise AssertionError(f"{selector} was not reached")


def is_seen(page: Page) -> bool:
    """Say whether the focused element has an outline, in the window."""
    seen: bool = page.evaluate(
        f"getComputedStyle({FOCUSED}).outlineStyle === 'solid' && "
        f"{FOCUSED}.getBoundingClientRect().top >= 0"
    )
    return seen
