"""Take the pictures of the pages for docs/: `python -m tests.browser.screenshots`."""

import io
import tempfile
from contextlib import closing
from pathlib import Path

from PIL import Image

from tests.browser.chromium import Page, chromium, executable
from tests.browser.conftest import sample_service
from tests.serving import ROOT, Service

DOCS = ROOT / "docs"
WIDE, PHONE = (1280, 960), (390, 844)
COLOURS = 256
PICTURES = (
    ("page.png", WIDE, False),
    ("page-phone.png", PHONE, False),
    ("page-dark.png", WIDE, True),
)
# Readers beside the page, so that there is something to draw.
ROUNDS, AT_ONCE = 8, 25


def read_three(page: Page, service: Service) -> None:
    """Open the reader's page and read three articles on sports."""
    page.open(service.url)
    page.click("#starters button")
    page.expect("#said").to_contain_text("(personal)")
    page.evaluate("document.activeElement.blur()")
    page.tab.mouse.move(0, 0)


def take(page: Page, service: Service, name: str, size: tuple[int, int], *, dark: bool) -> None:
    """Write a picture of the reader's page, with the reasons of the first article open."""
    page.show(*size, dark=dark)
    read_three(page, service)
    page.evaluate("document.querySelector('.stages').open = true")
    page.evaluate("document.querySelector('#recommended .why').open = true")
    place = (
        "document.getElementById('for-you').scrollIntoView()" if size == PHONE else "scrollTo(0, 0)"
    )
    page.evaluate(place)
    write(page, name)


def take_status(page: Page, service: Service) -> None:
    """Write a picture of the operator's page while readers ask."""
    page.show(*WIDE)
    page.open(f"{service.url}/status")
    for i in range(ROUNDS):
        for _ in range(AT_ONCE * (1 + i % 3)):
            service.client.post("/v1/recommendations", json={"history": ["S0001", "S0002"]})
        service.client.post("/v1/search", json={"query": "storm over the islands"})
        looks = page.evaluate("performance.getEntriesByType('resource').length")
        page.wait_for(f"performance.getEntriesByType('resource').length > {looks}")
    write(page, "page-status.png")


def write(page: Page, name: str) -> None:
    """Write what the window shows, in few enough colours to be a small file."""
    image = Image.open(io.BytesIO(page.tab.screenshot())).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)


def main() -> None:
    """Take all of them."""
    path = executable()
    if path is None:
        raise SystemExit("needs Chromium")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        sample_service(Path(folder)) as service,
        chromium(path) as browser,
    ):
        for name, size, is_dark in PICTURES:
            with closing(Page(browser)) as page:
                take(page, service, name, size, dark=is_dark)
        with closing(Page(browser)) as page:
            take_status(page, service)


if __name__ == "__main__":
    main()
