"""The search page in a real browser: typing, pointing, dropping, keys, errors, an empty index, no server."""

import base64
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from searching import PICTURES, index, model, path_of, texts_index

from wordsight.search.index import Index
from wordsight.search.searcher import Searcher

absent = "the page is tested in a browser where wordsight[serve] and playwright are installed"
uvicorn = pytest.importorskip("uvicorn", reason=absent)
create_app = pytest.importorskip("wordsight.serve.web", reason=absent).create_app
playwright = pytest.importorskip("playwright.sync_api", reason=absent)

from wordsight.serve.web_door import Rules  # noqa: E402
from wordsight.serve.web_server import listen  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: apt-get install chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
TOKEN = "a-token-of-some-length"
SENTENCE = "a red star beside a small blue circle"
PICTURES_ARE_SHOWN = "[1, 2, 3].every(n => document.querySelectorAll('.hit img')[n]?.naturalWidth > 0)"
CSS = Path(__file__).parents[1] / "src" / "wordsight" / "serve" / "static" / "page.css"


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    listener: socket.socket = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    images, texts = Searcher(index()), Searcher(texts_index())
    with serving(create_app(images, texts)) as where:
        yield where


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield launched
        launched.close()


class Tab:
    """A page, and what went wrong in it."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | settings))
        self.context.set_default_timeout(15_000)
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
    end = time.monotonic() + 15
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"never came true: {expression}"
        page.wait_for_timeout(25)


def search(page: Any, text: str) -> None:
    """Type, and wait for the answer to exactly this."""
    with page.expect_response(lambda r: "/v1/search" in r.url and r.request.method == "GET"):
        page.locator("#query").fill(text)
    until(
        page, "document.querySelectorAll('.hit .chip').length > 0 || !document.querySelector('#empty').hidden"
    )


def names(page: Any) -> list[str]:
    found: list[str] = page.locator(".open").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    return [re.search(r"picture \d+, (\S+\.png)", name)[1] for name in found]  # type: ignore[index]


def expected(text: str, k: int = 24) -> list[str]:
    return [Path(hit.item.path).name for hit in Searcher(index()).find_images(text, k=k).hits]


# Typing


def test_it_opens_with_the_newest_pictures(tab: Any) -> None:
    assert names(tab)[:3] == ["23.png", "22.png", "21.png"]
    assert tab.locator("#about").inner_text().startswith(f"{PICTURES} pictures")
    until(tab, PICTURES_ARE_SHOWN)


def test_hits_appear_as_one_types(tab: Any) -> None:
    tab.locator("#query").press_sequentially(SENTENCE, delay=5)
    tab.wait_for_selector(".hit .chip")
    until(tab, "document.title.includes('circle')")
    playwright.expect(tab.locator(".hit").first.locator(".chips")).to_have_text(re.compile("circle"))
    assert names(tab) == expected(SENTENCE)
    assert [part.strip() for part in tab.locator("#words button").all_inner_texts()] == [
        "red",
        "star",
        "small",
        "blue",
        "circle",
    ]


def test_the_address_holds_the_query(tab: Any) -> None:
    search(tab, "a red star")
    assert "q=a+red+star" in tab.url
    tab.reload()
    tab.wait_for_selector(".hit .chip")
    assert tab.locator("#query").input_value() == "a red star"
    assert names(tab) == expected("a red star")


def test_late_answers_are_dropped(tab: Any) -> None:
    held: list[Any] = []
    tab.route("**/v1/search?*circle*", lambda route: held.append(route))
    tab.locator("#query").fill("a circle")
    while not held:
        tab.wait_for_timeout(20)
    search(tab, "a red star")
    for route in held:
        route.continue_()
    tab.wait_for_timeout(300)
    assert tab.locator("#query").input_value() == "a red star"
    assert names(tab) == expected("a red star")
    tab.unroute_all(behavior="ignoreErrors")


def test_keys_that_follow_fast_ask_once(tab: Any) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/v1/search" in request.url else None)
    tab.locator("#query").press_sequentially("red star", delay=1)
    tab.wait_for_selector(".hit .chip")
    assert len(asked) <= 2


# Words


def test_a_word_lights_up_its_region(tab: Any) -> None:
    search(tab, SENTENCE)
    told = tab.evaluate(
        "query => fetch('/v1/search?k=1&query=' + encodeURIComponent(query)).then(r => r.json())", SENTENCE
    )
    hit = tab.locator(".hit").first
    words = [word for word in told["hits"][0]["words"] if word["judged"]]
    chips = hit.locator(".chip")
    assert chips.count() == len(words)
    chips.nth(1).hover()
    playwright.expect(hit.locator(".region")).to_have_class(re.compile(r"\bon\b"))
    picture, region = hit.locator(".picture img").bounding_box(), hit.locator(".region").bounding_box()
    left, top, right, bottom = words[1]["box"]
    assert region["x"] - picture["x"] == pytest.approx(left * picture["width"], abs=1.5)
    assert region["y"] - picture["y"] == pytest.approx(top * picture["height"], abs=1.5)
    assert region["width"] == pytest.approx((right - left) * picture["width"], abs=1.5)
    assert region["height"] == pytest.approx((bottom - top) * picture["height"], abs=1.5)
    tab.locator("h1").hover()
    playwright.expect(hit.locator(".region")).not_to_have_class(re.compile(r"\bon\b"))
    chips.nth(0).focus()
    playwright.expect(hit.locator(".region")).to_have_class(re.compile(r"\bon\b"))


def test_a_word_that_is_not_found_says_so_without_colour(tab: Any) -> None:
    search(tab, "a red zebra")
    zebra = tab.locator(".hit").first.get_by_role("button", name=re.compile("^zebra: "))
    assert "does not know" in zebra.get_attribute("aria-label")
    assert zebra.locator("s").inner_text() == "zebra"
    playwright.expect(tab.locator("#status")).to_contain_text("does not know “zebra”")


def test_clicking_a_word_requires_it_then_excludes_it_then_lets_it_go(tab: Any) -> None:
    search(tab, "a red star")
    for typed, told in (
        ("a +red star", "must be there"),
        ("a -red star", "must not be there"),
        ("a red star", "may be there"),
    ):
        with tab.expect_response(lambda r: "/v1/search" in r.url):
            tab.locator("#words button").first.click()
        assert tab.locator("#query").input_value() == typed
        assert told in tab.locator("#words button").first.get_attribute("aria-label")
        playwright.expect(tab.locator("#form")).not_to_have_class(re.compile("busy"))
        until(tab, "text => new URLSearchParams(location.search).get('q') === text", typed)
        playwright.expect(tab.locator(".open")).to_have_count(len(expected(typed)))
        assert names(tab) == expected(typed)


def test_the_line_stands_where_relevance_ends(tab: Any) -> None:
    def three_of_them(route: Any) -> None:
        answer = route.fetch()
        told = answer.json() | {"relevant": 3}
        for place, hit in enumerate(told["hits"]):
            hit["relevant"] = place < 3
        route.fulfill(response=answer, json=told)

    tab.route("**/v1/search?*", three_of_them)
    search(tab, "a red star")
    assert tab.locator("#hits > li").nth(3).inner_text() == "Below this line nothing clearly matches"
    assert tab.locator("#hits .line").count() == 1
    assert tab.locator("#status").inner_text().startswith(f"3 of {PICTURES} pictures match")


def test_nothing_that_matches_is_said_first(tab: Any) -> None:
    def none_of_them(route: Any) -> None:
        answer = route.fetch()
        told = answer.json() | {"relevant": 0}
        for hit in told["hits"]:
            hit["relevant"] = False
        route.fulfill(response=answer, json=told)

    tab.route("**/v1/search?*", none_of_them)
    search(tab, "a red star")
    assert tab.locator("#status").inner_text().startswith("Nothing here clearly matches.")
    assert tab.locator("#hits .line").count() == 0


# Pictures


def drop(page: Any, data: bytes, name: str = "dropped.png", kind: str = "image/png") -> None:
    page.evaluate(
        """([data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            const given = { dataTransfer, bubbles: true, cancelable: true };
            dataTransfer.items.add(new File([bytes], name, { type }));
            for (const event of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(event, given));
        }""",
        [base64.b64encode(data).decode(), name, kind],
    )


def test_a_dropped_picture_finds_its_like_and_its_sentences(tab: Any) -> None:
    with tab.expect_response(lambda r: "/v1/similar" in r.url and r.request.method == "POST"):
        drop(tab, path_of(5).read_bytes())
    playwright.expect(tab.locator(".open").first).to_have_attribute("aria-label", re.compile("05.png"))
    playwright.expect(tab.locator("#liked")).to_be_visible()
    with tab.expect_response(lambda r: "/v1/captions" in r.url):
        tab.get_by_text("Sentences", exact=True).first.click()
    tab.wait_for_selector(".said .chip")
    tab.locator(".said .chip:not(.missing)").first.hover()
    playwright.expect(tab.locator("#beside .region")).to_have_class(re.compile(r"\bon\b"))
    tab.get_by_role("button", name="Search without this picture").click()
    tab.wait_for_selector(".open")
    assert names(tab)[0] == "23.png"


def test_a_chosen_picture_and_words_are_one_question(tab: Any) -> None:
    with tab.expect_response(lambda r: "/v1/similar" in r.url):
        tab.locator("#file").set_input_files(path_of(2))
    with tab.expect_response(lambda r: "/v1/similar" in r.url):
        tab.locator("#query").fill("a red star")
    tab.wait_for_selector(".hit .chip")
    like = Searcher(index()).similar(path_of(2), k=24, text="a red star")
    assert names(tab) == [Path(hit.item.path).name for hit in like.hits]


def test_what_is_no_picture_is_told(tab: Any) -> None:
    drop(tab, b"hello", "notes.txt", "text/plain")
    assert "notes.txt is no picture" in tab.locator("#problem").inner_text()
    assert tab.locator(".open").count() == PICTURES


def test_a_broken_picture_is_told(browser: Any, address: str) -> None:
    one = Tab(browser)
    one.page.goto(address)
    one.page.wait_for_selector(".hit")
    drop(one.page, b"no picture at all")
    playwright.expect(one.page.locator("#problem")).to_contain_text("cannot be read")
    one.context.close()


# Keys, and a closer look


def focused(page: Any) -> str:
    return str(
        page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')")
    )


def test_the_keyboard_is_enough(tab: Any) -> None:
    tab.keyboard.press("/")
    assert focused(tab) == "query"
    tab.keyboard.type("a red star")
    tab.wait_for_selector(".hit .chip")
    until(tab, "document.title.includes('star')")
    tab.keyboard.press("ArrowDown")
    assert "picture 1," in focused(tab)
    tab.keyboard.press("ArrowRight")
    assert "picture 2," in focused(tab)
    tab.keyboard.press("ArrowDown")
    columns = tab.evaluate(
        "getComputedStyle(document.querySelector('#hits')).gridTemplateColumns.split(' ').length"
    )
    row_below = tab.locator("#hits > li").evaluate_all(
        "all => all.slice(0, 2).findIndex(one => one.matches('.line'))"
    )
    if row_below < 0:
        assert f"picture {columns + 2}," in focused(tab)
    tab.keyboard.press("Home")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.matches('.chip')")
    tab.keyboard.press("End")
    tab.keyboard.press("Escape")
    assert focused(tab) == "query"


def test_a_closer_look_explains_and_leads_on(tab: Any) -> None:
    search(tab, "a red star")
    first = names(tab)[0]
    tab.locator(".open").first.focus()
    tab.keyboard.press("Enter")
    playwright.expect(tab.locator("#viewer .evidence")).to_contain_text("Each word looks for itself")
    assert tab.locator("#viewer h2").inner_text() == first
    tab.locator("#viewer .chip").first.hover()
    playwright.expect(tab.locator("#viewer .region")).to_have_class(re.compile(r"\bon\b"))
    tab.keyboard.press("ArrowRight")
    playwright.expect(tab.locator("#viewer .place")).to_have_text(f"2 of {PICTURES}")
    tab.keyboard.press("Escape")
    playwright.expect(tab.locator(".open").nth(1)).to_be_focused()
    tab.keyboard.press("Enter")
    item = tab.locator("#viewer h2").inner_text()
    with tab.expect_response(lambda r: "/v1/similar" in r.url):
        tab.get_by_role("button", name="Similar pictures").click()
    until(tab, "!document.querySelector('.hit .chip')")
    assert item not in names(tab)
    assert "like=" in tab.url
    tab.go_back()
    until(
        tab,
        "new URLSearchParams(location.search).get('q') === 'a red star' || !location.search.includes('like')",
    )


def test_a_tap_keeps_its_region(browser: Any, address: str) -> None:
    one = Tab(browser, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    one.page.goto(address + "?q=a+red+star")
    one.page.wait_for_selector(".hit .chip")
    hit = one.page.locator(".hit").first
    hit.locator(".chip").first.tap()
    playwright.expect(hit.locator(".region")).to_have_class(re.compile(r"\bon\b"))
    one.page.wait_for_timeout(300)
    playwright.expect(hit.locator(".region")).to_have_class(re.compile(r"\bon\b"))
    hit.locator(".chip").first.tap()
    playwright.expect(hit.locator(".region")).not_to_have_class(re.compile(r"\bon\b"))
    assert not one.errors
    one.context.close()


# What can go wrong


def test_a_query_that_cannot_be_read_is_told_and_the_hits_stay(browser: Any, address: str) -> None:
    one = Tab(browser)
    one.page.goto(address + "?q=a+red+star")
    one.page.wait_for_selector(".hit .chip")
    one.page.locator("#query").fill('a "red')
    playwright.expect(one.page.get_by_role("alert").first).to_contain_text("never closed")
    assert one.page.locator(".open").count() == PICTURES
    one.page.locator("#query").fill('a "red"')
    playwright.expect(one.page.locator("#problem")).to_be_empty()
    one.context.close()


def test_an_empty_index_says_what_to_do_and_is_followed(browser: Any, tmp_path: Path) -> None:
    made = Index.create(tmp_path / "index", model("max-sim"))
    (tmp_path / "photos").mkdir()
    with serving(create_app(Searcher(Index.open(tmp_path / "index")))) as where:
        one = Tab(browser)
        one.page.goto(where)
        playwright.expect(one.page.locator("#empty")).to_contain_text("This index is empty.")
        playwright.expect(one.page.locator("#empty")).to_contain_text("wordsight index FOLDER")
        shutil.copy(path_of(0), tmp_path / "photos" / "<img src=x onerror=alert(1)>.png")
        (tmp_path / "photos" / "<img src=x onerror=alert(1)>.txt").write_text("<script>alert(1)</script>")
        made.update([tmp_path / "photos"])
        one.page.wait_for_selector(".open")
        playwright.expect(one.page.locator("#empty")).to_be_hidden()
        one.page.locator(".open").click()
        playwright.expect(one.page.locator("#viewer .told")).to_have_text("<script>alert(1)</script>")
        assert one.page.locator("#viewer h2").inner_text() == "<img src=x onerror=alert(1)>.png"
        assert not one.errors
        one.context.close()


def test_a_server_that_is_gone_is_waited_for(browser: Any) -> None:
    app = create_app(Searcher(index()))
    one = Tab(browser)
    with serving(app) as where:
        one.page.goto(where)
        one.page.wait_for_selector(".open")
        port = int(where.rsplit(":", 1)[1].strip("/"))
    one.page.locator("#query").fill("a red star")
    playwright.expect(one.page.locator("#gone")).to_be_visible()
    assert "wordsight serve" in one.page.locator("#gone").inner_text()
    time.sleep(0.2)
    with serving(create_app(Searcher(index())), port):
        one.page.wait_for_selector(".hit .chip")
        playwright.expect(one.page.locator("#gone")).to_be_hidden()
        assert names(one.page) == expected("a red star")
        one.context.close()


def test_a_token_is_asked_for_and_pictures_are_shown_with_it(browser: Any) -> None:
    with serving(create_app(Searcher(index()), rules=Rules(TOKEN))) as where:
        one = Tab(browser)
        one.page.goto(where)
        one.page.locator("#token").fill(TOKEN)
        one.page.get_by_role("button", name="Go on").click()
        until(one.page, PICTURES_ARE_SHOWN)
        one.context.close()
        linked = Tab(browser)
        linked.page.goto(f"{where}#token={TOKEN}")
        until(linked.page, "document.querySelector('.hit img')?.naturalWidth > 0")
        assert TOKEN not in linked.page.url
        assert not linked.errors
        linked.context.close()


def test_an_index_of_texts_alone_asks_for_a_picture(browser: Any) -> None:
    with serving(create_app(None, Searcher(texts_index()))) as where:
        one = Tab(browser)
        one.page.goto(where)
        playwright.expect(one.page.locator("#empty")).to_contain_text("Drop a picture here")
        drop(one.page, path_of(1).read_bytes())
        one.page.wait_for_selector(".said .chip")
        assert not one.errors
        one.context.close()


# Looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_any_width(browser: Any, address: str, scheme: str) -> None:
    one = Tab(browser, color_scheme=scheme)
    one.page.goto(address + "?q=" + SENTENCE.replace(" ", "+"))
    one.page.wait_for_selector(".hit .chip")
    for width in (320, 390, 820, 1440):
        one.page.set_viewport_size({"width": width, "height": 900})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = one.page.locator(".open, .chip, #choose, .word").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"
        )
        assert all(left >= -1 and right <= width + 1 and height >= 24 for left, right, height in boxes)
    assert not one.errors
    one.context.close()


def test_everything_that_can_be_pressed_has_a_name(tab: Any) -> None:
    search(tab, SENTENCE)
    nameless = tab.locator("button, input:not([hidden]), a").evaluate_all(
        """all => all.filter((one) => !one.getAttribute("aria-label") && !one.textContent.trim()
            && !one.labels?.length).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert tab.locator("img:not([alt])").count() == 0
    assert tab.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", CSS.read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    pairs = [
        *("ink paper", "ink card", "quiet paper", "quiet card", "quiet mat", "accent card", "accent paper"),
        *("accent accent-soft", "warn warn-soft", "ink warn-soft", "card accent", "card ink"),
    ]
    for pair in pairs:
        text, ground = pair.split()
        assert contrast(colours[text], colours[ground]) >= 4.5, pair


def contrast(one: str, other: str) -> float:
    """As WCAG 2 counts it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
