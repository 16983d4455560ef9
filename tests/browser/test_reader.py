"""The reader's page in a real browser: a history is read, and everything follows it at once."""

import pytest

from tests.browser.chromium import Page
from tests.browser.conftest import publish
from tests.serving import Service

TITLE = "#front .title"
MINE = "#recommended > li"
MOST_BYTES, MOST_MS, SETTLED_MS = 100_000, 1_000, 1_000
# What moves while a page loads: a tenth is what browsers' makers call good.
MOST_SHIFTED = 0.1
SHIFTED = (
    "new Promise(done => { let sum = 0; new PerformanceObserver(list => list.getEntries().forEach("
    "one => { sum += one.value })).observe({type: 'layout-shift', buffered: true});"
    " setTimeout(() => done(sum), 200) })"
)
# What stands beside the lists scrolls by itself: what is out of it covers nothing.
COVERED = """(boxes => boxes.some(([a, one], i) => boxes.slice(i + 1).some(([b, two]) =>
  !a.contains(b) && !b.contains(a) && one.left < two.right - 1 && two.left < one.right - 1 &&
  one.top < two.bottom - 1 && two.top < one.bottom - 1)))(
  [...document.querySelectorAll('main section, .beside')].map(e => {
    const box = e.getBoundingClientRect();
    const frame = (e.closest('.beside') ?? e).getBoundingClientRect();
    return [e, {left: box.left, right: box.right, top: Math.max(box.top, frame.top),
      bottom: Math.min(box.bottom, frame.bottom)}];
  }).filter(([, box]) => box.top < box.bottom))"""
HOSTILE = {
    "H1": "<img src=x onerror=\"document.title='broken'\">",
    "H2": "</script><script>document.title='broken'</script>",
    "H3": "\u202eRight to left, and never back",
    "H4": "Wordwithoutanyend" * 14,
    "H5": '\u05e9\u05dc\u05d5\u05dd <b>world</b> &amp; "quotes" \' {{7*7}} ${7*7}',
    "H6": "\U0001f9d1‍\U0001f33e Z̴̡͔͓͋a̶l̵g̷o̸",
}


def mine(page: Page) -> list[str]:
    """Return the topics of the recommended articles, best first."""
    return [one.split(" · ")[0] for one in page.texts(f"{MINE} > .meta")]


def read(page: Page, n: int) -> None:
    """Wait until so many articles are read, and the recommendations are for them."""
    page.expect("#history li").to_have_count(n)
    page.settle()


def chip(topic: str) -> str:
    """Select the box of a topic."""
    return f"#topics input[value={topic}]"


def test_three_articles_on_sports_bring_more_of_them(page: Page, served: Service) -> None:
    """Clicked one by one on the front page; answers say what they were chosen by, and why."""
    page.open(served.url)
    before = mine(page).count("sports")
    assert "(popular)" in page.text("#summary")
    page.click(chip("sports"))
    page.settle()
    assert set(mine(page)) == {"sports"}
    for n in (1, 2, 3):
        page.click(f"#front > li:nth-child({n}) .title")
        read(page, n)
        assert len(page.texts("#front .is-read")) == n
    page.click(chip("sports"))
    page.settle()
    assert mine(page).count("sports") >= before + 3
    assert "(personal)" in page.text("#summary")
    titles = {one.removesuffix("Forget") for one in page.texts("#history li > span")}
    told = page.texts(f"{MINE} .because")
    assert len(told) == 10
    assert all(one.removeprefix("Because you read ") in titles for one in told)
    assert all("Parts of the score" in one for one in page.texts(f"{MINE} .why"))
    assert "reader" in page.text("#stages")


def test_a_history_lasts_and_can_be_forgotten(page: Page, served: Service) -> None:
    """It is there after the page is opened again; forgetting one or all of it counts at once."""
    page.open(served.url)
    page.click(f"{TITLE}")
    read(page, 1)
    page.click("#recommended .title")
    read(page, 2)
    page.open(served.url)
    assert len(page.texts("#history li")) == 2
    assert "(personal)" in page.text("#summary")
    page.click("#history li button")
    page.expect("#history li").to_have_count(1)
    page.click("#forget")
    page.expect("#summary").to_contain_text("(popular)")
    assert page.evaluate("localStorage.getItem('newsbert.history')") == "[]"


@pytest.mark.parametrize(
    "kept", ['{"a"', "7", '[{"id": 3, "title": "x"}, null, {"id": "../x", "title": ""}]']
)
def test_a_history_that_is_none_is_left_alone(page: Page, served: Service, kept: str) -> None:
    """Whatever another script has kept under its name."""
    page.open(served.url)
    page.evaluate(f"localStorage.setItem('newsbert.history', {kept!r})")
    page.open(served.url)
    assert page.texts("#history li") == []
    assert len(page.texts(MINE)) == 10


def test_an_article_that_is_taken_down_vanishes(page: Page, own_service: Service) -> None:
    """From every list and from the history, without anything being done on the page."""
    publish(own_service.client, {f"A{i}": f"Coach on the new season {i}" for i in range(4)})
    page.open(own_service.url)
    page.expect("#front > li").to_have_count(4)
    page.click("#front > li[data-id=A1] .title")
    read(page, 1)
    page.expect("#recommended > li[data-id=A2]").to_be_attached()
    page.click("#front > li[data-id=A0] .similar summary")
    page.expect(".similar li[data-id=A2]").to_be_attached()
    for one in ("A1", "A2"):
        assert own_service.client.delete(f"/v1/news/{one}").status_code == 200
    page.expect(".articles [data-id=A1], [data-id=A2]").to_have_count(0)
    assert len(page.texts("#front > li")) == 2
    page.expect("body").not_to_contain_text("new season 1")
    assert "new season 1" not in page.evaluate("localStorage.getItem('newsbert.history')")
    assert page.texts("#history li > span") == ["An article that is no longer shown"]


def test_an_article_that_is_published_appears(page: Page, own_service: Service) -> None:
    """Also on a page that was empty, which said so."""
    page.open(own_service.url)
    assert (
        page.text("#front-empty") == page.text("#recommended-empty") == "There is no article yet."
    )
    publish(own_service.client, {"A1": "Coach on the new season"})
    page.expect("#front > li[data-id=A1]").to_be_attached()
    assert not page.evaluate("document.getElementById('front-empty').checkVisibility()")


def test_a_query_is_answered_three_ways(page: Page, served: Service) -> None:
    """By meaning, by words and by both, side by side; what is found can be read too."""
    page.open(served.url)
    page.click("#query")
    page.type("storm over the islands")
    page.press("Enter")
    page.expect("#ways .articles > li").to_have_count(15)
    assert all(one.startswith("5 articles in ") for one in page.texts("#ways .note"))
    assert "meaning 1, words" in "".join(page.texts("#hybrid .remark"))
    assert "Found by both 5, by meaning 5, by words 5." in page.text("#said")
    page.click("#bm25 .title")
    page.expect("#bm25 > li:first-child.is-read").to_be_attached()


def test_similar_stories_open_below_an_article(page: Page, served: Service) -> None:
    """With its abstract; they stay open while the lists around change."""
    page.open(served.url)
    page.click("#front .similar summary")
    page.expect("#front .similar li").to_have_count(5)
    assert len(page.texts("#front .abstract")) == 1
    page.click("#front .similar li .title")
    read(page, 1)
    assert page.evaluate("document.querySelector('#front .similar').open")


def test_wishes_change_the_order_at_once(page: Page, served: Service) -> None:
    """A half-life and more diversity bring other articles up; a reset takes both back."""
    page.open(served.url)
    page.click("#starters button")
    read(page, 3)
    plain = page.texts("#recommended .title")
    page.evaluate("document.getElementById('half-life').focus()")
    page.press("ArrowRight", times=7)
    assert page.text("#half-life-told") == "1 hour"
    page.expect(".why:has-text('its age')").to_have_count(10)
    fresh = page.texts("#recommended .title")
    assert fresh != plain
    page.evaluate("document.getElementById('diversity').focus()")
    page.press("ArrowRight", times=10)
    assert page.text("#diversity-told") == "0.55"
    page.expect("#recommended").to_contain_text("too like others")
    page.click("#reset")
    page.expect("#recommended").not_to_contain_text("its age")
    assert page.texts("#recommended .title") == plain


def test_topics_filter_everything(page: Page, served: Service) -> None:
    """Two of them let articles of both through, on the front page and in what is recommended."""
    page.open(served.url)
    for topic in ("food", "health"):
        page.click(chip(topic))
        page.settle()
    assert page.text("#said").startswith("Topics changed.")
    shown = {one.split(" · ")[0] for one in page.texts("#front .meta, #recommended .meta")}
    assert shown == {"food", "health"}


def test_a_history_is_compared_with_none(page: Page, served: Service) -> None:
    """Both lists stand side by side, and each article says what its place would be."""
    page.open(served.url)
    page.click("#starters button")
    read(page, 3)
    page.click("#compare")
    page.expect("#anyone > li").to_have_count(10)
    assert all("with no history: " in one for one in page.texts(f"{MINE} > .meta"))
    assert set(page.texts("#anyone .title")) != set(page.texts("#recommended .title"))
    page.click("#compare")
    page.expect("#without").to_be_hidden()


def test_more_of_the_front_page_can_be_seen(page: Page, served: Service) -> None:
    """And the most clicked instead of the newest."""
    page.open(served.url)
    newest = page.texts(TITLE)
    page.click("#more")
    page.expect("#front > li").to_have_count(16)
    assert page.texts(TITLE)[:8] == newest
    page.click("input[value=trending]")
    page.expect(f"{TITLE} >> nth=0").not_to_have_text(newest[0])


def test_titles_are_text_whatever_they_say(page: Page, own_service: Service) -> None:
    """Markup, scripts, marks of direction, endless words: shown as they are, on any screen."""
    publish(own_service.client, HOSTILE, abstract=HOSTILE["H1"], url="javascript:alert(1)")
    for width in (1280, 320):
        page.show(width)
        page.open(own_service.url)
        page.expect("#front > li").to_have_count(len(HOSTILE))
        stored = {i: own_service.client.get(f"/v1/news/{i}").json()["title"] for i in HOSTILE}
        for one, title in stored.items():
            assert page.text(f"#front > li[data-id={one}] > h3 .title") == title
        page.click("#front > li[data-id=H1] .similar summary")
        page.expect("#front .similar .title").not_to_have_count(0)
        assert (
            page.evaluate("document.querySelectorAll('main img, main script, main b').length") == 0
        )
        assert page.evaluate("document.querySelectorAll('main a[href^=javascript]').length") == 0
        assert page.evaluate("document.title").startswith("NewsBERT")
        assert not is_too_wide(page)


def test_the_policy_is_in_force(page: Page, served: Service) -> None:
    """A script or a style that got into the page all the same would do nothing there."""
    page.open(served.url)
    for name, text in (("script", "document.title = 'broken'"), ("style", "* { display: none }")):
        page.evaluate(
            f"document.body.append(Object.assign(document.createElement({name!r}), "
            f"{{textContent: {text!r}}}))"
        )
    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 0)")
    assert page.evaluate("document.title").startswith("NewsBERT")
    assert page.evaluate("document.body.checkVisibility()")
    assert len(page.problems) >= 3
    assert all("Content Security Policy" in one for one in page.problems)
    page.problems.clear()


def test_an_outage_is_told_and_gets_over(page: Page, own_service: Service) -> None:
    """What was shown stays; when the service is back the notice goes."""
    publish(own_service.client, {"A1": "Coach on the new season"})
    page.open(own_service.url)
    page.expect("#front > li").to_be_attached()
    own_service.kill()
    page.click("#compare")
    page.expect("#trouble").to_contain_text("be reached")
    assert len(page.texts("#front > li")) == 1
    own_service.start()
    page.expect("#trouble").to_be_empty()
    # Of these a browser complains by itself.
    page.problems[:] = [one for one in page.problems if "net::ERR_" not in one]


@pytest.mark.parametrize("width", [320, 390, 800, 1000, 1280])
def test_no_part_covers_another(page: Page, served: Service, width: int) -> None:
    """With a history, a comparison and a search, scrolled down to the end."""
    page.show(width, 700)
    page.open(served.url)
    page.click("#starters button")
    read(page, 3)
    page.click("#compare")
    page.settle()
    page.click("#query")
    page.type("storm over the islands")
    page.press("Enter")
    page.settle()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert not page.evaluate(COVERED)
    # And what covers another part would be noticed.
    page.evaluate("document.querySelector('.search').style.marginTop = '-9rem'")
    assert page.evaluate(COVERED)


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_phone_needs_no_scrolling_sideways(
    page: Page, served: Service, path: str, width: int
) -> None:
    """With everything open that can be opened, and a long query."""
    page.show(width, 700)
    page.open(f"{served.url}{path}")
    if path == "/":
        page.click("#front .title")
        read(page, 1)
        page.click("#compare")
        page.click("#query")
        page.type("storm " * 30)
        page.press("Enter")
        page.expect("#ways .articles > li").not_to_have_count(0)
        page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        page.expect(".similar li >> nth=50").to_be_attached()
    assert not is_too_wide(page)


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_first_load_is_small_and_quick(page: Page, served: Service, path: str) -> None:
    """All that comes over the network, answers included; until the page can be used."""
    page.open(f"{served.url}{path}")
    ready_ms = int(page.evaluate("document.documentElement.dataset.ready"))
    page.tab.wait_for_timeout(SETTLED_MS)
    sizes = [one.sizes() for one in page.requests]
    received = sum(one["responseHeadersSize"] + one["responseBodySize"] for one in sizes)
    assert MOST_BYTES / 10 < received <= MOST_BYTES, f"{received:,} in {len(sizes)} requests"
    assert ready_ms <= MOST_MS
    assert all(one.url.startswith(served.url) for one in page.requests)
    assert page.evaluate(SHIFTED) <= MOST_SHIFTED


def is_too_wide(page: Page) -> bool:
    """Say whether the page is wider than its window."""
    width: bool = page.evaluate("document.scrollingElement.scrollWidth > window.innerWidth")
    return width
