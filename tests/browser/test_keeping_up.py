"""The reader's page over time: what changes, fails or is not there at first."""

from tests.browser.chromium import Page
from tests.browser.conftest import publish
from tests.serving import Service


def test_topics_are_offered_once_there_are_any(page: Page, own_service: Service) -> None:
    """A page that was opened on an empty catalogue needs no reload; until then nothing is begun."""
    page.open(own_service.url)
    page.expect(".hurry").to_be_hidden()
    publish(own_service.client, {"A1": "Coach on the new season"}, topic="sports")
    page.expect("#topics input[value=sports]").to_be_attached()
    page.expect("#starters button").to_have_count(1)
    page.expect(".hurry").to_be_visible()


def test_an_open_abstract_is_corrected(page: Page, own_service: Service) -> None:
    """What was published wrong does not stay where somebody reads it."""
    publish(own_service.client, {"A1": "Coach on the new season"}, abstract="The first version.")
    page.open(own_service.url)
    page.click("#front > li[data-id=A1] .similar summary")
    page.expect(".abstract").to_have_text("The first version.")
    publish(own_service.client, {"A1": "Coach on the new season"}, abstract="As it was.")
    page.expect(".abstract").to_have_text("As it was.")


def test_a_blank_title_is_called_by_its_id(page: Page, own_service: Service) -> None:
    """A headline without letters could be seen and clicked by nobody."""
    publish(own_service.client, {"A1": "   "})
    page.open(own_service.url)
    assert page.texts("#front .title") == ["A1"]
    page.click("#front .title")
    page.expect("#history li").to_have_count(1)
