"""Fixtures of the tests in a browser: the browser, a service with the samples, a page."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser.chromium import Page, chromium, executable
from tests.serving import BUNDLE, ROOT, Service, newsbert, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SAMPLES = ROOT / "samples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests here slow: a browser takes seconds to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


# No longer than for a file: tests elsewhere run event loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Run one Chromium for all tests of a file; without it or what drives it, skip."""
    path = executable()
    if path is None:
        pytest.skip("needs Chromium, which is absent (Debian: apt-get install chromium)")
    # One package brings Playwright and axe-core.
    pytest.importorskip(
        "axe_playwright_python", reason="needs the package axe-playwright-python, which is absent"
    )
    with chromium(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve the sample catalogue, with its clicks, by the bundle that ships; read only."""
    directory = tmp_path_factory.mktemp("served")
    with sample_service(directory) as service:
        yield service


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """Serve an empty catalogue, which a test may fill."""
    store = f"sqlite:///{tmp_path}/store.sqlite"
    # What tests publish is made up, and may read like one story.
    with serving(BUNDLE, store, tmp_path, same_story=1) as service:
        yield service


@pytest.fixture
def page(browser: "Browser") -> Iterator[Page]:
    """Open a page that must have nothing to complain of when the test ends."""
    with closing(Page(browser)) as page:
        yield page
        # Whatever the browser had to say came before this answer.
        page.evaluate("0")
        assert page.problems == []


def sample_service(directory: Path) -> AbstractContextManager[Service]:
    """Serve the samples from a store in a folder."""
    store = f"sqlite:///{directory}/store.sqlite"
    clicks = ("--behaviors", SAMPLES / "mind/train/behaviors.tsv")
    newsbert("refresh", SAMPLES / "articles.jsonl", *clicks, "--store", store)
    return serving(BUNDLE, store, directory)


def publish(client: httpx.Client, titles: dict[str, str], **facts: str) -> None:
    """Publish articles by id and title."""
    for one, title in titles.items():
        answer = client.put(f"/v1/news/{one}", json={"title": title, "topic": "sports", **facts})
        if answer.status_code == 422:
            # No such address is taken in: the page must not rely on it.
            facts.pop("url")
            answer = client.put(f"/v1/news/{one}", json={"title": title, **facts})
        assert answer.status_code in (200, 201), answer.text
