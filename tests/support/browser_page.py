"""The search page in a real browser: a server, a tab, and what tests wait for in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.search_models import index, texts_index
from support.waiting import PATIENCE, wait_until

from wordsight.search.searcher import Searcher

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: apt-get install chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """The address of a server of this app."""
    from support.running_server import listening

    with listening(app, port) as where:
        yield f"http://127.0.0.1:{where}/"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of pictures and texts."""
    from wordsight.web.app import create_app

    images, texts = Searcher(index()), Searcher(texts_index())
    with serving(create_app(images, texts)) as where:
        yield where


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield launched
        launched.close()


class Tab:
    """A page, and what went wrong in it."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | settings))
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    """The page as it opens. Afterwards: no error, and nothing was asked of anybody else."""
    one = Tab(browser)
    one.page.goto(address)
    one.page.wait_for_selector(".hit")
    yield one.page
    own = (address, "blob:", "data:")
    assert not one.errors
    assert not [url for url in one.asked if not url.startswith(own)]
    one.context.close()


def until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait for it to hold; the page's own policy forbids what Playwright would do for that."""
    wait_until(lambda: page.evaluate(expression, argument), lambda: page.wait_for_timeout(25))


def settled(page: Any) -> None:
    """Let the page handle all events so far and draw."""
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    page.evaluate(frame)


def search(page: Any, text: str) -> None:
    """Type, and wait for the answer to exactly this."""
    with page.expect_response(lambda r: "/v1/search" in r.url and r.request.method == "GET"):
        page.locator("#query").fill(text)
    until(
        page, "document.querySelectorAll('.hit .chip').length > 0 || !document.querySelector('#empty').hidden"
    )
