"""Debian's Chromium, by Playwright: what a reader does on a page, and what went wrong there."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, LocatorAssertions, Request
    from playwright.sync_api import Page as Tab

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Pictures are the same on every screen.
FLAGS: Final = ("--disable-gpu", "--disable-lcd-text")
# The pages ask the service anew every five seconds.
TIMEOUT_S = 15.0
PHONES_BELOW = 600


def executable() -> str | None:
    """Return where Chromium is: as `CHROMIUM` names it, else on the path; None without one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(path: str) -> Iterator["Browser"]:
    """Run a browser for the block; meanwhile an event loop runs here, so that no other may."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=TIMEOUT_S * 1_000)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=FLAGS) as browser,
    ):
        yield browser


class Page:
    """One page that knows nothing of others; `tab` is Playwright's own."""

    tab: "Tab"

    def __init__(self, browser: "Browser") -> None:
        self._browser = browser
        self.problems: list[str] = []
        self.requests: list[Request] = []
        self._take(is_phone=False)
        self.show()

    def close(self) -> None:
        """Leave the page, with all that it kept."""
        self.tab.close()

    def show(
        self, width: int = 1280, height: int = 900, *, dark: bool = False, moves: bool = False
    ) -> None:
        """Set the window's size, the reader's colours, and whether movement is welcome.

        A phone is another device than a desk: between them nothing that was opened stays.
        """
        if self._is_phone != (width < PHONES_BELOW):
            self.close()
            self._take(is_phone=not self._is_phone)
        self.tab.set_viewport_size({"width": width, "height": height})
        self.tab.emulate_media(
            color_scheme="dark" if dark else "light",
            reduced_motion="no-preference" if moves else "reduce",
        )

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page there has what it asked the service for."""
        self.tab.goto(url)
        self.expect("html[data-ready]").to_be_attached()

    def expect(self, selector: str) -> "LocatorAssertions":
        """Say what elements come to be, within the timeout."""
        from playwright.sync_api import expect

        return expect(self.tab.locator(selector))

    def settle(self) -> None:
        """Wait until the page shows what came of the last deed."""
        self.expect("main").to_have_attribute("aria-busy", "false")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true, which is about more than elements."""
        # Playwright's own wait evaluates within the page, which the page's policy forbids.
        deadline = time.monotonic() + TIMEOUT_S
        while not self.evaluate(f"Boolean({script})"):
            assert time.monotonic() < deadline, (script, self.problems)
            self.tab.wait_for_timeout(20)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, of a promise what it comes to."""
        return self.tab.evaluate(script)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that a selector has."""
        return self.tab.locator(selector).all_text_contents()

    def text(self, selector: str) -> str:
        """Return the text of the one element that a selector has."""
        return self.tab.locator(selector).text_content() or ""

    def click(self, selector: str) -> None:
        """Click the first element of a selector, once nothing covers it."""
        self.tab.click(selector)

    def press(self, key: str, *, times: int = 1) -> None:
        """Press a key of the keyboard."""
        for _ in range(times):
            self.tab.keyboard.press(key)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.tab.keyboard.type(text)

    def _take(self, *, is_phone: bool) -> None:
        self._is_phone = is_phone
        self.tab = self._browser.new_page(is_mobile=is_phone)
        self.tab.set_default_timeout(TIMEOUT_S * 1_000)
        # Playwright takes functions of Python for listeners, no built-in ones.
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("console", self._note)
        self.tab.on("request", lambda one: self.requests.append(one))  # noqa: PLW0108

    def _note(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.text} ({message.location['url']})")
