"""The search page in a real browser: typing, pointing, dropping, keys, errors, an empty index, no server."""

import base64
import random
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.browser_page import Tab, needs_browser, search, serving, settled, until
from support.heic import save_heic
from support.search_models import PICTURES, index, model, path_of, pictures, short_index, texts_index
from support.waiting import wait_until

from wordsight.search.engine import regions
from wordsight.search.index.index import Filters, Index
from wordsight.search.query.parser import QueryError, _clean, _parts, parse
from wordsight.search.searcher import Searcher

absent = "the page is tested in a browser where wordsight[serve] and playwright are installed"
pytest.importorskip("uvicorn", reason=absent)
create_app = pytest.importorskip("wordsight.web.app", reason=absent).create_app
playwright = pytest.importorskip("playwright.sync_api", reason=absent)

from wordsight.web.security import AccessPolicy  # noqa: E402

pytestmark = needs_browser
TOKEN = "a-token-of-some-length"
SENTENCE = "a red star beside a small blue circle"
PICTURES_ARE_SHOWN = "[1, 2, 3].every(n => document.querySelectorAll('.hit img')[n]?.naturalWidth > 0)"
CSS = Path(__file__).parents[2] / "src" / "wordsight" / "web" / "static" / "page.css"


def hold_back(page: Any, url: str) -> list[Any]:
    """The requests to this address, from now on, which wait until the test continues them."""
    held: list[Any] = []
    page.route(url, lambda route: held.append(route))
    return held


def names(page: Any) -> list[str]:
    found: list[str] = page.locator(".open").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    return [re.search(r"picture \d+, (\S+\.png)", name)[1] for name in found]  # type: ignore[index]


def expected(text: str, k: int = 24) -> list[str]:
    return [Path(hit.item.path).name for hit in Searcher(index()).find_images(text, k=k).hits]


# Typing


def test_it_opens_ready_to_type(tab: Any) -> None:
    assert focused(tab) == "query"
    tab.keyboard.type("a red star")
    tab.wait_for_selector(".hit .chip")
    assert tab.locator("#query").input_value() == "a red star"
    tab.locator("footer").click()
    tab.keyboard.type("s")
    assert tab.locator("#query").input_value() == "a red stars"


def test_where_one_touches_no_keyboard_covers_the_page(browser: Any, address: str) -> None:
    one = Tab(browser, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    one.page.goto(address)
    one.page.wait_for_selector(".hit")
    assert one.page.evaluate("document.activeElement === document.body")
    one.context.close()


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
    held, ended = hold_back(tab, "**/v1/search?*circle*"), []
    for event in ("requestfinished", "requestfailed"):
        tab.on(event, lambda request: ended.append(request.url) if "circle" in request.url else None)
    tab.locator("#query").fill("a circle")
    wait_until(lambda: held, lambda: tab.wait_for_timeout(10))
    search(tab, "a red star")
    for route in held:
        route.continue_()
    wait_until(lambda: len(ended) == len(held), lambda: tab.wait_for_timeout(10))
    settled(tab)
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
        ("a +red star", "required"),
        ("a -red star", "excluded"),
        ("a red star", "optional"),
    ):
        with tab.expect_response(lambda r: "/v1/search" in r.url):
            tab.locator("#words button").first.click()
        assert tab.locator("#query").input_value() == typed
        assert told in tab.locator("#words button").first.get_attribute("aria-label")
        playwright.expect(tab.locator("#form")).not_to_have_class(re.compile("busy"))
        until(tab, "text => new URLSearchParams(location.search).get('q') === text", typed)
        playwright.expect(tab.locator(".open")).to_have_count(len(expected(typed)))
        assert names(tab) == expected(typed)


def test_the_page_reads_what_is_typed_as_the_search_does(tab: Any) -> None:
    draw = random.Random(0)
    made = [
        "".join(draw.choices('+-^"\\ ab\t\u2019\u201c\u201d\ufeff2', k=draw.randint(1, 12)))
        for _ in range(20_000)
    ]
    typed = [
        "a dog +running red^3 +wet^2 ball", 'dog -"red hat"', "+\u201cred hat\u201d",
        "the dog\u2019s \u2018ball\u2019", r'"say \"+1\" \\\\"', 'a "c  ^2"^4', "a - b", "dog +",
        "t-shirt rock+roll", "a +\ufeffb\ufeff c",
        '12" pizza', "a 5'10\" man and -12\" tiles", 'a "dog', *made,
    ]  # fmt: skip
    read = [text for text in typed if is_query(text)]
    assert len(read) > 3000
    theirs = tab.evaluate(
        """async typed => {
            const { parts } = await import("/query.js");
            return typed.map(text => parts(text).map(part => [part.sign, part.word]));
        }""",
        read,
    )
    for text, found in zip(read, theirs, strict=True):
        assert found == [[part.sign, part.words] for part in _parts(_clean(text))], repr(text)


def is_query(text: str) -> bool:
    try:
        return bool(parse(text))
    except QueryError:
        return False


def test_the_line_stands_where_relevance_ends(tab: Any) -> None:
    def three_of_them(route: Any) -> None:
        answer = route.fetch()
        told = answer.json() | {"relevant": 3, "verdict": f"3 of {PICTURES} pictures match"}
        for place, hit in enumerate(told["hits"]):
            hit["relevant"] = place < 3
        route.fulfill(response=answer, json=told)

    tab.route("**/v1/search?*", three_of_them)
    search(tab, "a red star")
    assert tab.locator("#hits > li").nth(3).inner_text() == "No match from here on"
    assert tab.locator("#hits .threshold").count() == 1
    assert tab.locator("#status").inner_text().startswith(f"3 of {PICTURES} pictures match")


def test_nothing_that_matches_is_said_first(tab: Any) -> None:
    def none_of_them(route: Any) -> None:
        answer = route.fetch()
        told = answer.json() | {"relevant": 0, "verdict": "No picture shows all of it; *star* is missing"}
        for hit in told["hits"]:
            hit |= {"relevant": False, "missing": int("blue" in route.request.url)}
        route.fulfill(response=answer, json=told)

    tab.route("**/v1/search?*", none_of_them)
    search(tab, "a blue star")
    playwright.expect(tab.locator("#status")).to_contain_text(
        "No picture shows all of it; star is missing. These are the closest"
    )
    assert tab.locator("#hits .threshold").count() == 0
    search(tab, "a red star")  # the same verdict as the command line's, also where every word is found
    playwright.expect(tab.locator("#status")).to_contain_text(
        "No picture shows all of it; star is missing. These are the closest"
    )
    assert tab.locator("#hits .threshold").count() == 0


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
    playwright.expect(tab.locator("#status")).to_contain_text("This picture is in the index. ")
    playwright.expect(tab.locator(".open")).to_have_count(PICTURES - 1)  # it is no neighbour of itself
    playwright.expect(tab.locator("#liked")).to_be_visible()
    with tab.expect_response(lambda r: "/v1/captions" in r.url):
        tab.get_by_text("Sentences", exact=True).first.click()
    tab.wait_for_selector(".sentence .chip")
    tab.locator(".sentence .chip:not(.missing)").first.hover()
    playwright.expect(tab.locator("#query-picture .region")).to_have_class(re.compile(r"\bon\b"))
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


@pytest.mark.parametrize("kind", ["", "image/heic"])
def test_a_photograph_of_a_telephone_is_dropped_like_any_other(tab: Any, kind: str) -> None:
    """Most browsers do not know its kind, and cannot show it."""
    data = BytesIO()
    save_heic(Image.open(path_of(5)), data)
    with tab.expect_response(lambda r: "/v1/similar" in r.url and r.request.method == "POST"):
        drop(tab, data.getvalue(), "IMG_0005.HEIC", kind)
    playwright.expect(tab.locator(".open").first).to_have_attribute("aria-label", re.compile("05.png"))


def test_what_is_no_picture_is_told(tab: Any) -> None:
    drop(tab, b"hello", "notes.txt", "text/plain")
    assert "notes.txt is not a picture" in tab.locator("#problem").inner_text()
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
        "all => all.slice(0, 2).findIndex(one => one.matches('.threshold'))"
    )
    if row_below < 0:
        assert f"picture {columns + 2}," in focused(tab)
    tab.keyboard.press("Home")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.matches('.chip')")
    tab.keyboard.press("End")
    tab.keyboard.press("Escape")
    assert focused(tab) == "query"


HOTTEST = """() => {
  const canvas = document.querySelector('#viewer canvas.heat'), { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const covered = [...Array(width * height).keys()].map((n) => data[4 * n + 3]);
  const at = covered.indexOf(Math.min(...covered));
  return [(at % width + 0.5) / width, (Math.floor(at / width) + 0.5) / height];
}"""


def test_a_map_is_brightest_where_the_model_sees_the_word(tab: Any) -> None:
    explained = Searcher(index())
    hit = explained.find_images("a red star", k=1).hits[0]
    words = [one for one in explained.explain("a red star", hit.item.id).words if one.word.judged]
    search(tab, "a red star")
    tab.locator(".open").first.click()
    playwright.expect(tab.locator("#viewer .evidence")).to_contain_text("Each word was compared with")
    chips = tab.locator("#viewer .chip:not(.whole)")
    assert chips.count() == len(words)
    for number, one in enumerate(words):
        chips.nth(number).hover()
        if one.word.is_found:
            left, top, right, bottom = one.word.box
            until(tab, "document.querySelector('#viewer canvas.heat')")
            x, y = tab.evaluate(HOTTEST)
            assert left < x < right
            assert top < y < bottom
        else:
            until(tab, "!document.querySelector('#viewer canvas.heat')")


def test_a_closer_look_explains_and_leads_on(tab: Any) -> None:
    search(tab, "a red star")
    first = names(tab)[0]
    tab.locator(".open").first.focus()
    tab.keyboard.press("Enter")
    playwright.expect(tab.locator("#viewer .evidence")).to_contain_text("Each word was compared with")
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
    settled(one.page)
    playwright.expect(hit.locator(".region")).to_have_class(re.compile(r"\bon\b"))
    hit.locator(".chip").first.tap()
    playwright.expect(hit.locator(".region")).not_to_have_class(re.compile(r"\bon\b"))
    assert not one.errors
    one.context.close()


# The viewer


def look_closer(page: Any, text: str = "a red star") -> Any:
    search(page, text)
    page.locator(".open").first.click()
    playwright.expect(page.locator("#viewer")).to_be_visible()
    until(page, "document.querySelector('#viewer img').naturalWidth > 0")
    return page.locator("#viewer")


def zoomed(page: Any) -> float:
    told = "new DOMMatrix(getComputedStyle(document.querySelector('#viewer .picture')).transform).a"
    return float(page.evaluate(told))


def test_the_viewer_zooms_by_wheel_keys_buttons_and_double_click(tab: Any) -> None:
    viewer = look_closer(tab)
    box = viewer.locator(".view").bounding_box()
    assert viewer.get_by_role("button", name="Zoom out").is_disabled()
    with asks(tab, "size=2560"):  # what is enlarged needs more pixels
        tab.keyboard.press("+")
    assert zoomed(tab) == pytest.approx(1.5)
    viewer.get_by_role("button", name="Zoom in").click()
    assert zoomed(tab) == pytest.approx(2.25)
    tab.keyboard.press("-")
    tab.keyboard.press("0")
    assert zoomed(tab) == 1
    tab.mouse.move(box["x"] + 10, box["y"] + 10)
    tab.mouse.wheel(0, -500)
    until(tab, "document.querySelector('#viewer .view').classList.contains('enlarged')")
    corner = viewer.locator(".picture").bounding_box()
    assert corner["x"] - box["x"] > -30  # what is under the pointer stays there
    tab.mouse.down()
    tab.mouse.move(box["x"] + 400, box["y"] + 400, steps=3)
    tab.mouse.up()
    moved = viewer.locator(".picture").bounding_box()
    assert (moved["x"], moved["y"]) == pytest.approx((box["x"], box["y"]), abs=1)  # never out of its place
    tab.keyboard.press("0")
    tab.mouse.dblclick(box["x"] + 50, box["y"] + 50)
    assert zoomed(tab) == pytest.approx(3)
    tab.keyboard.press("ArrowRight")
    assert zoomed(tab) == 1  # the next picture is shown whole


def test_a_word_lights_up_its_region_in_an_enlarged_picture(tab: Any) -> None:
    viewer = look_closer(tab)
    playwright.expect(viewer.locator(".evidence")).not_to_be_empty()
    viewer.locator(".chip").first.hover()
    before = viewer.locator(".region").bounding_box()
    tab.keyboard.press("+")
    after = viewer.locator(".region").bounding_box()
    assert after["width"] == pytest.approx(1.5 * before["width"], rel=0.01)


def test_the_file_can_be_opened_saved_and_its_path_copied(browser: Any, address: str) -> None:
    one = Tab(browser, permissions=["clipboard-read", "clipboard-write"])
    one.page.goto(address)
    viewer = look_closer(one.page)
    path = viewer.locator(".path").inner_text()
    viewer.get_by_role("button", name="Copy path").click()
    playwright.expect(viewer.locator(".copy")).to_have_text("Copied")
    assert one.page.evaluate("navigator.clipboard.readText()") == path
    with one.context.expect_page() as opened:
        viewer.get_by_role("link", name="Open original").click()
    assert "/original" in opened.value.url
    with one.page.expect_download() as download:
        viewer.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == Path(path).name
    assert Path(download.value.path()).read_bytes() == Path(path).read_bytes()
    one.context.close()


def test_the_file_can_be_had_with_a_token_too(browser: Any) -> None:
    with serving(create_app(Searcher(index()), policy=AccessPolicy(TOKEN))) as where:
        one = Tab(browser)
        one.page.goto(f"{where}#token={TOKEN}")
        viewer = look_closer(one.page)
        path = viewer.locator(".path").inner_text()
        with one.page.expect_download() as download:
            viewer.get_by_role("link", name="Download").click()
        assert Path(download.value.path()).read_bytes() == Path(path).read_bytes()
        with one.context.expect_page() as opened:
            viewer.get_by_role("link", name="Open original").click()
        opened.value.wait_for_url(re.compile("^blob:"))
        opened.value.wait_for_function("document.images[0]?.naturalWidth > 0")
        assert not one.errors
        one.context.close()


def test_files_that_are_not_handed_out_are_not_offered(browser: Any) -> None:
    with serving(create_app(Searcher(index()), policy=AccessPolicy(originals=False))) as where:
        one = Tab(browser)
        one.page.goto(where)
        viewer = look_closer(one.page)
        assert not viewer.locator(".original").is_visible()
        assert not viewer.locator(".download").is_visible()
        assert viewer.locator(".copy").is_visible()
        one.context.close()


def test_the_viewer_goes_on_to_hits_that_are_not_there_yet(tab: Any) -> None:
    tab.route("**/v1/items?*", lambda route: route.continue_(url=route.request.url.replace("k=24", "k=9")))
    tab.reload()
    until(tab, "document.querySelectorAll('.open').length === 9")
    tab.locator(".open").nth(8).click()
    playwright.expect(tab.locator("#viewer .place")).to_have_text(f"9 of {PICTURES}")
    with asks(tab, "/v1/items"):
        tab.get_by_role("button", name="Next picture").click()
    playwright.expect(tab.locator("#viewer .place")).to_have_text(f"10 of {PICTURES}")
    tab.keyboard.press("Home")
    playwright.expect(tab.locator("#viewer .place")).to_have_text(f"1 of {PICTURES}")
    playwright.expect(tab.locator("#viewer .before")).to_be_disabled()


def test_a_finger_turns_to_the_next_picture_and_two_enlarge_it(browser: Any, address: str) -> None:
    one = Tab(browser, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    one.page.goto(address + "?q=a+red+star")
    one.page.wait_for_selector(".hit .chip")
    one.page.locator(".open").first.tap()
    view = one.page.locator("#viewer .view").bounding_box()
    touch = one.context.new_cdp_session(one.page)
    middle = view["y"] + view["height"] / 2

    def touches(kind: str, *xs: float) -> None:
        points = [{"x": x, "y": middle, "id": n} for n, x in enumerate(xs)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touches("touchStart", 300)
    for x in (250, 200, 120):
        touches("touchMove", x)
    touches("touchEnd")
    playwright.expect(one.page.locator("#viewer .place")).to_have_text(f"2 of {PICTURES}")
    touches("touchStart", 180, 220)
    touches("touchMove", 120, 280)
    touches("touchEnd")
    assert zoomed(one.page) > 2
    assert not one.errors
    one.context.close()


def test_what_is_said_of_a_hit_needs_no_dictionary(tab: Any) -> None:
    viewer = look_closer(tab, "a red zebra")
    playwright.expect(viewer.locator(".verdict")).to_contain_text(
        re.compile(r"better (match )?than 95\s% of the pictures\.")
    )
    playwright.expect(viewer.locator(".verdict")).to_contain_text("“zebra”")
    assert "line of relevance" not in viewer.inner_text()


# Filters


def hits_of(query: str, order: str = "score", **filters: Any) -> list[str]:
    found = Searcher(index()).find_images(query, k=24, filters=Filters(**filters), sort=order)
    return [Path(hit.item.path).name for hit in found.hits]


def local_midnight(page: Any, day: str) -> float:
    return float(page.evaluate("day => new Date(`${day}T00:00`) / 1000", day))


def chips(page: Any) -> list[str]:
    told = page.locator("#filtered button").evaluate_all("all => all.map(one => one.firstChild.data)")
    return [str(one) for one in told]


def asks(page: Any, path: str = "/v1/search") -> Any:
    return page.expect_response(lambda response: path in response.url)


def shows(page: Any, expected: list[str]) -> None:
    """Wait for exactly these pictures, in this order."""
    until(
        page,
        """expected => [...document.querySelectorAll(".open")]
            .map(one => /picture \\d+, (\\S+\\.png)/.exec(one.ariaLabel)[1]).join() === expected.join()""",
        expected,
    )


def test_filters_narrow_a_search_and_a_link_holds_them(tab: Any) -> None:
    search(tab, "a red star")
    tab.locator("#filter").click()
    tab.get_by_label("Folder").fill("odd")
    with asks(tab):
        tab.get_by_label("Folder").press("Tab")
    tab.get_by_label("From").fill("2001-09-14")
    tab.get_by_label("Until").fill("2001-09-24")
    tab.get_by_label("Words in its captions or path").fill("blue")
    tab.get_by_label("Smallest file").select_option("102400")
    playwright.expect(tab.locator("#empty")).to_contain_text("No picture passes the filters.")
    tab.get_by_role("button", name="Done").click()
    tab.get_by_role("button", name="at least 100 KB: remove this filter").click()
    begin, end = local_midnight(tab, "2001-09-14"), local_midnight(tab, "2001-09-25")
    expected = hits_of("a red star", folder="odd", after=begin, before=end, text="blue")
    assert 0 < len(expected) < PICTURES
    shows(tab, expected)
    told = ["in odd", "from 14 Sept 2001", "until 24 Sept 2001", "“blue” in captions or path"]
    assert chips(tab) == told
    assert tab.locator("#passing").inner_text() == f"{len(expected)} of {PICTURES} pass"
    tab.reload()
    shows(tab, expected)
    until(tab, "document.querySelector('#filtered button').firstChild.data === 'in odd'")
    assert chips(tab) == told
    tab.locator("#filter").click()
    assert tab.get_by_label("Words in its captions or path").input_value() == "blue"
    with asks(tab):
        tab.get_by_role("button", name="Clear all").click()
    shows(tab, expected_all := hits_of("a red star"))
    assert len(expected_all) == PICTURES
    assert tab.evaluate("location.search") == "?q=a+red+star"


def test_filters_hold_where_pictures_are_browsed_and_where_one_is_searched_by(tab: Any) -> None:
    tab.goto(tab.url + "?text=star&folder=even")
    asking = Searcher(index())
    rows = asking.session().snapshot.rows_where(Filters(text="star", folder="even"))
    assert rows is not None
    until(tab, "count => document.querySelectorAll('.open').length === count", len(rows))
    assert tab.locator("#status").inner_text() == f"{len(rows)} pictures, the newest first."
    newest = names(tab)
    assert newest == sorted(newest, reverse=True)
    with asks(tab, "/v1/similar"):
        tab.locator("#file").set_input_files(path_of(2))
    given = Filters(text="star", folder="even")
    like = Searcher(index()).similar(path_of(2), k=24, filters=given)
    shows(tab, [Path(hit.item.path).name for hit in like.hits])
    with asks(tab, "/v1/similar"):
        tab.locator("#query").fill("a red star")
    like = Searcher(index()).similar(path_of(2), k=24, filters=given, text="a red star")
    shows(tab, [Path(hit.item.path).name for hit in like.hits])


def test_an_address_that_somebody_made_up_sets_no_filter(tab: Any) -> None:
    with asks(tab, "/v1/items") as answer:
        tab.goto(tab.url + "?from=2001-02-31x&until=tomorrow&min_bytes=-1&sort=size&engine=magic&text=+")
    assert answer.value.status == 200
    tab.wait_for_selector(".open")
    assert chips(tab) == []
    assert len(names(tab)) == PICTURES
    tab.goto(tab.url.split("?")[0] + "?min_bytes=3000&until=9999-12-31&folder=<b>")
    playwright.expect(tab.locator("#empty")).to_contain_text("No picture passes the filters.")
    assert chips(tab) == ["in <b>", "until 31 Dec 9999", "at least 2.9 KB"]
    assert tab.locator("[name=min_bytes]").evaluate("one => one.selectedOptions[0].label") == "2.9 KB"
    with asks(tab, "/v1/items"):
        tab.get_by_role("button", name="Clear the filters").click()
    until(tab, "count => document.querySelectorAll('.open').length === count", PICTURES)


def test_the_folders_of_the_index_are_offered_by_their_names(tab: Any) -> None:
    with asks(tab, "/v1/folders"):
        tab.locator("#filter").click()
    until(tab, "document.querySelectorAll('#folders option').length === 2")
    offered = tab.locator("#folders option").evaluate_all("all => all.map(one => [one.value, one.label])")
    assert offered == [["even", "even (12)"], ["odd", "odd (12)"]]
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/v1/items" in request.url else None)
    tab.clock.install()
    tab.get_by_label("Folder").press_sequentially("od")
    tab.clock.run_for(10_000)
    settled(tab)
    assert not asked  # half a name is no folder
    tab.get_by_label("Folder").press_sequentially("d")
    tab.clock.run_for(10_000)
    until(tab, "new URLSearchParams(location.search).get('folder') !== null")
    assert tab.evaluate("new URLSearchParams(location.search).get('folder')") == str(pictures() / "odd")
    until(tab, "document.querySelectorAll('.open').length === 12")
    assert chips(tab) == ["in odd"]


def test_a_folder_whose_name_ends_in_a_space_is_found(browser: Any, tmp_path: Path) -> None:
    for name in ("x", "x "):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(path_of(len(name)), tmp_path / "photos" / name)
    made = Index.create(tmp_path / "index", model("max-sim"))
    made.update([tmp_path / "photos"])
    with serving(create_app(Searcher(made))) as where:
        one = Tab(browser)
        one.page.goto(where)
        one.page.wait_for_selector(".open")
        with asks(one.page, "/v1/folders"):
            one.page.locator("#filter").click()
        until(one.page, "document.querySelectorAll('#folders option').length === 2")
        one.page.get_by_label("Folder").fill("x ")
        shows(one.page, ["02.png"])
        one.page.get_by_label("Folder").fill("x")
        shows(one.page, ["01.png"])
        one.context.close()


def test_a_filter_that_is_being_pressed_stays_under_the_finger(tab: Any) -> None:
    tab.goto(tab.url + "?text=star")
    pressed = tab.locator(".filter").element_handle()
    with asks(tab, "/v1/folders"):
        tab.locator("#filter").click()
    until(tab, "document.querySelectorAll('#folders option').length === 2")
    assert pressed.evaluate("chip => chip.isConnected")


def test_the_newest_first_are_those_that_match(tab: Any) -> None:
    search(tab, "a red star")
    tab.locator("#filter").click()
    with asks(tab) as answer:
        tab.get_by_text("Newest first").click()
    told = answer.value.json()
    assert "sort=date" in answer.value.url
    assert told["relevant"] == len(told["hits"]) < PICTURES
    shows(tab, hits_of("a red star", "date"))
    playwright.expect(tab.locator("#status")).to_contain_text(
        re.compile("No picture|match(es)?, the newest first")
    )


def test_where_nothing_matches_there_is_nothing_to_order(tab: Any) -> None:
    def none_of_them(route: Any) -> None:
        if "sort=date" not in route.request.url:
            return route.continue_()
        answer = route.fetch()
        return route.fulfill(
            response=answer, json=answer.json() | {"relevant": 0, "verdict": "No picture matches", "hits": []}
        )

    tab.route("**/v1/search?*", none_of_them)
    tab.goto(tab.url + "?q=a+red+star&sort=date")
    playwright.expect(tab.locator("#status")).to_have_text(
        f"No picture matches. Compared: {PICTURES} pictures."
    )
    playwright.expect(tab.locator("#more")).to_be_hidden()
    with asks(tab):
        tab.get_by_role("button", name="Show the closest pictures").click()
    shows(tab, hits_of("a red star"))
    tab.unroute_all(behavior="ignoreErrors")


def test_a_shortlist_says_so_and_all_can_be_compared(tab: Any) -> None:
    with asks(tab) as answer:
        tab.goto(tab.url + "?q=a+red+star&engine=shortlist")
    assert answer.value.json()["exact"] is False
    playwright.expect(tab.locator("#status")).to_contain_text("a shortlist of")
    assert chips(tab) == ["from a shortlist"]
    with asks(tab) as answer:
        tab.get_by_role("button", name="Compare all").click()
    assert answer.value.json()["exact"] is True
    playwright.expect(tab.locator("#status")).not_to_contain_text("shortlist")
    assert chips(tab) == ["all compared"]


def test_engines_that_the_index_lacks_are_not_offered_and_a_fallback_is_explained(tab: Any) -> None:
    tab.get_by_role("button", name="Filters").click()
    offered = tab.locator("select[name=engine] option:not([hidden])").all_text_contents()
    assert offered == ["automatic", "all pictures", "a shortlist (faster)"]
    with asks(tab) as answer:
        tab.goto(tab.url.split("?")[0] + "?q=a+red+star&engine=regions")
    assert (answer.value.json()["engine"], answer.value.json()["exact"]) == ("exact", True)
    playwright.expect(tab.locator("#status")).to_contain_text(
        "All pictures are compared: there is no index of regions"
    )


def test_a_person_chooses_the_index_of_regions(browser: Any, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("faiss")
    shutil.copytree(index().folder, tmp_path / "index")
    made = Index.open(tmp_path / "index")
    made.index_regions()
    monkeypatch.setattr(regions, "FEW_ROWS", 0)
    monkeypatch.setattr(regions, "CANDIDATES_PER_HIT", 0)
    with serving(create_app(Searcher(made))) as where:
        page = Tab(browser).page
        with asks(page):
            page.goto(where + "?q=a+red+star")
        page.get_by_role("button", name="Filters").click()
        with asks(page) as answer:
            page.get_by_label("Compare with").select_option("the nearest regions (fastest)")
        assert answer.value.json()["engine"] == "regions"
        assert answer.value.json()["fallback"] is None
        playwright.expect(page.locator("#status")).to_contain_text("It comes from the index of regions.")
        assert chips(page) == ["from the nearest regions"]
        page.context.close()


def test_filters_of_pictures_wait_while_sentences_are_wanted(tab: Any) -> None:
    tab.goto(tab.url + "?folder=odd")
    until(tab, "document.querySelectorAll('.open').length === 12")
    with asks(tab, "/v1/similar"):
        drop(tab, path_of(5).read_bytes())
    with asks(tab, "/v1/captions"):
        tab.get_by_text("Sentences", exact=True).first.click()
    tab.wait_for_selector(".sentence .chip")
    playwright.expect(tab.locator("#filter")).to_be_disabled()
    playwright.expect(tab.locator("#filtered")).to_be_hidden()
    with asks(tab, "/v1/similar"):
        tab.get_by_text("Similar pictures", exact=True).first.click()
    playwright.expect(tab.locator("#filtered")).to_be_visible()
    until(tab, "document.querySelectorAll('.open').length === 11")  # without the picture itself


def test_keys_alone_set_filters_and_remove_them(tab: Any) -> None:
    tab.keyboard.press("/")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    assert focused(tab) == "filter"
    tab.keyboard.press("Enter")
    assert tab.locator("#filter").get_attribute("aria-expanded") == "true"
    for _ in range(10):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.name") == "text":
            break
    tab.keyboard.type("star")
    until(tab, "location.search === '?text=star'")
    tab.keyboard.press("Escape")
    assert focused(tab) == "filter"
    assert not tab.locator("#filters").is_visible()
    tab.keyboard.press("Tab")
    assert focused(tab) == "“star” in captions or path: remove this filter"
    tab.keyboard.press("Enter")
    until(tab, "location.search === ''")
    assert focused(tab) == "filter"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Shift+Tab")
    playwright.expect(tab.locator("#filters")).to_be_hidden()  # what is left does not hide what is next


def test_an_answer_that_comes_late_takes_the_focus_from_nobody(tab: Any) -> None:
    search(tab, "a red star")
    held = hold_back(tab, "**/v1/search?*circle*")
    tab.locator("#query").fill("a circle")
    wait_until(lambda: held, lambda: tab.wait_for_timeout(10))
    tab.locator(".open").nth(2).focus()
    held[0].continue_()
    shows(tab, expected("a circle"))
    assert "picture 3," in focused(tab)


def test_more_pictures_come_where_one_reads(tab: Any) -> None:
    tab.route("**/v1/search?*", lambda route: route.continue_(url=route.request.url.replace("k=24", "k=9")))
    tab.locator("#query").fill("a red star")
    until(tab, "document.querySelectorAll('.open').length === 9")  # no more by themselves
    tab.locator("#more").focus()
    tab.keyboard.press("Enter")
    until(tab, "document.querySelectorAll('.open').length === 18")
    assert "picture 10," in focused(tab)


# What kind of evidence


def test_a_model_of_the_whole_picture_frames_nothing(browser: Any) -> None:
    with serving(create_app(Searcher(index("cosine")))) as where:
        one = Tab(browser)
        one.page.goto(where + "?q=a+red+star")
        hit = one.page.locator(".hit").first
        playwright.expect(hit.locator(".chip")).to_have_count(0)  # the query again, under every picture
        playwright.expect(one.page.locator("#status")).to_contain_text("it cannot say where a word is")
        hit.locator(".open").click()
        playwright.expect(one.page.locator("#viewer .evidence")).to_contain_text(
            "cannot say where anything is"
        )
        chip = one.page.locator("#viewer .chip")
        chip.hover()
        playwright.expect(one.page.locator("#viewer .tag")).to_have_text("the whole picture, no place")
        assert "in the picture as a whole; no place" in chip.get_attribute("aria-label")
        playwright.expect(one.page.locator("#viewer .region")).to_have_css("opacity", "0")
        assert not one.errors
        one.context.close()


def test_a_hint_is_called_one_and_looks_otherwise(browser: Any, tmp_path: Path, tab: Any) -> None:
    pytest.importorskip("transformers", reason="patches are those of a published model")
    from support.published_dual_encoders import publish

    from wordsight.importers.clip_siglip import import_dual

    import_dual(publish(tmp_path / "published", "clip"), tmp_path / "model", "clip", "patches")
    made = Index.create(tmp_path / "index", tmp_path / "model")
    made.update([pictures()])
    search(tab, "a red star")
    tab.locator(".chip:not(.missing)").first.hover()
    certain = tab.locator(".region.on").evaluate("one => getComputedStyle(one).outlineStyle")
    assert tab.locator(".tag.on").count() == 0
    with serving(create_app(Searcher(made))) as where:
        one = Tab(browser)
        one.page.goto(where + "?q=a+red+dog")
        one.page.wait_for_selector(".chip")
        hit = one.page.locator(".hit:has(.chip:not(.missing))").first
        chip = hit.locator(".chip:not(.missing)").first
        chip.hover()
        playwright.expect(hit.locator(".tag")).to_have_text("a hint")
        playwright.expect(hit.locator(".tag")).to_have_css("opacity", "1")
        shown = hit.locator(".region.on").evaluate("one => getComputedStyle(one).outlineStyle")
        assert (certain, shown) == ("none", "dashed")
        assert "a hint: " in chip.get_attribute("aria-label")
        playwright.expect(one.page.locator("#status")).to_contain_text("Frames are hints")
        assert not one.errors
        one.context.close()


def test_where_a_word_is_not_found_is_no_find(tab: Any) -> None:
    search(tab, SENTENCE)
    missing = tab.locator(".chip.missing").first
    hit = tab.locator(".hit:has(.chip.missing)").first
    missing.hover()
    playwright.expect(hit.locator(".tag")).to_have_text("not found; nearest here")
    assert "not found, " in missing.get_attribute("aria-label")


# What can go wrong


def test_a_query_that_cannot_be_read_is_told_and_the_hits_stay(browser: Any, address: str) -> None:
    one = Tab(browser)
    one.page.goto(address + "?q=a+red+star")
    one.page.wait_for_selector(".hit .chip")
    one.page.locator("#query").fill("a red^99")
    playwright.expect(one.page.get_by_role("alert").first).to_contain_text("from 1 to 9")
    assert one.page.locator(".open").count() == PICTURES
    playwright.expect(one.page.locator("#hits")).to_have_class(re.compile("stale"))
    one.page.locator("#query").fill("a red^2")
    playwright.expect(one.page.locator("#problem")).to_be_empty()
    playwright.expect(one.page.locator("#hits")).not_to_have_class(re.compile("stale"))
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
        playwright.expect(one.page.locator("#viewer .caption")).to_have_text("<script>alert(1)</script>")
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
    with one.page.expect_event("requestfailed", lambda request: "/healthz" in request.url):
        one.page.locator("#query").fill("a red star")
    playwright.expect(one.page.locator("#gone")).to_be_visible()
    playwright.expect(one.page.locator("#hits")).to_have_css("opacity", "0.3")  # they answer another query
    assert "wordsight serve" in one.page.locator("#gone").inner_text()
    with serving(create_app(Searcher(index())), port):
        one.page.wait_for_selector(".hit .chip")
        playwright.expect(one.page.locator("#gone")).to_be_hidden()
        assert names(one.page) == expected("a red star")
        playwright.expect(one.page.locator("#hits")).to_have_css("opacity", "1")
        one.context.close()


def test_a_token_is_asked_for_and_pictures_are_shown_with_it(browser: Any) -> None:
    with serving(create_app(Searcher(index()), policy=AccessPolicy(TOKEN))) as where:
        one = Tab(browser)
        one.page.goto(where)
        one.page.locator("#token").fill(TOKEN)
        one.page.get_by_role("button", name="Continue").click()
        until(one.page, PICTURES_ARE_SHOWN)
        one.context.close()
        linked = Tab(browser)
        linked.page.goto(f"{where}#token={TOKEN}")
        until(linked.page, "document.querySelector('.hit img')?.naturalWidth > 0")
        assert TOKEN not in linked.page.url
        assert not linked.errors
        linked.context.close()


def test_a_query_that_the_model_does_not_read_or_know_is_said(browser: Any, tmp_path: Path) -> None:
    with serving(create_app(Searcher(short_index(tmp_path)))) as where:
        one = Tab(browser)
        one.page.goto(where)
        search(one.page, SENTENCE)
        status = one.page.locator("#status")
        playwright.expect(status).to_contain_text("its last 3 words were ignored: “small blue circle”")
        search(one.page, "a red satr")
        playwright.expect(status).to_contain_text("The model does not know “satr”. Did you mean star?")
        one.page.get_by_role("button", name="star", exact=True).first.click()
        playwright.expect(one.page.locator("#query")).to_have_value("a red star")
        playwright.expect(status).not_to_contain_text("Did you mean")
        assert not one.errors
        one.context.close()


def test_pictures_that_may_not_be_shown_are_explained(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = index()
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path))  # another user
    with serving(create_app(Searcher(made))) as where:
        one = Tab(browser)
        one.page.goto(where)
        playwright.expect(one.page.locator("#status")).to_contain_text("Start the server with --root")
        playwright.expect(one.page.locator(".unseeable").first).to_be_visible()
        one.page.locator(".open").first.click()
        playwright.expect(one.page.locator("#viewer .unseeable")).to_be_visible()
        playwright.expect(one.page.locator("#viewer .original")).to_be_hidden()
        one.context.close()


def test_an_index_of_texts_alone_asks_for_a_picture(browser: Any) -> None:
    with serving(create_app(None, Searcher(texts_index()))) as where:
        one = Tab(browser)
        one.page.goto(where)
        playwright.expect(one.page.locator("#empty")).to_contain_text("Drop a picture here")
        drop(one.page, path_of(1).read_bytes())
        one.page.wait_for_selector(".sentence .chip")
        assert not one.errors
        one.context.close()


# Looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_any_width(browser: Any, address: str, scheme: str) -> None:
    one = Tab(browser, color_scheme=scheme)
    filters = "&folder=odd&from=2001-01-01&until=2030-12-31&text=star&min_bytes=512"
    one.page.goto(address + "?q=" + SENTENCE.replace(" ", "+") + filters)
    one.page.wait_for_selector(".hit .chip")
    for width in (320, 390, 820, 1440):
        one.page.set_viewport_size({"width": width, "height": 900})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = one.page.locator(".open, .chip, #choose, .word").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"
        )
        assert all(left >= -1 and right <= width + 1 and height >= 24 for left, right, height in boxes)
        one.page.locator("#filter").click()
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        fields = one.page.locator(
            "#filters, #filters :is(input:not([type=radio]), select, button, .either), .filter"
        )
        assert fields.count() == 17
        for left, right, height, cut in fields.evaluate_all(
            """all => all.map(one => [one.getBoundingClientRect(), one]).map(([box, one]) =>
                [box.left, box.right, box.height, one.scrollWidth - one.clientWidth])"""
        ):
            assert left >= 0
            assert right <= width
            assert height >= 32
            assert cut <= 1
        one.page.keyboard.press("Escape")
    one.page.set_viewport_size({"width": 320, "height": 560})
    one.page.locator("#filter").click()
    done = one.page.get_by_role("button", name="Done").bounding_box()
    assert done["y"] + done["height"] <= 560  # however low the screen, the way out is seen
    assert not one.errors
    one.context.close()


def test_everything_that_can_be_pressed_has_a_name(tab: Any) -> None:
    tab.goto(tab.url + "?folder=odd&q=" + SENTENCE.replace(" ", "+"))
    tab.wait_for_selector(".chip")
    tab.locator("#filter").click()
    nameless = tab.locator(
        "button, input:not([hidden]), select, a, fieldset, dialog, [role=group]"
    ).evaluate_all(
        """all => all.filter((one) => !one.getAttribute("aria-label") && !one.textContent.trim()
            && !one.labels?.length).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert tab.locator("img:not([alt])").count() == 0
    assert tab.locator("h1").count() == 1


def test_nothing_moves_that_was_shown(browser: Any, address: str) -> None:
    """Neither as pictures arrive nor as the panel of the filters opens."""
    one = Tab(browser, viewport={"width": 390, "height": 800})
    one.page.add_init_script(
        """window.moved = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.moved += entry.value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    one.page.goto(address + "?q=a+red+star&folder=odd")
    until(one.page, PICTURES_ARE_SHOWN)
    before = one.page.locator(".hit").first.bounding_box()
    one.page.locator("#filter").click()
    settled(one.page)
    assert one.page.locator(".hit").first.bounding_box() == before
    assert one.page.evaluate("window.moved") < 0.05
    one.context.close()


def test_a_thousand_letters_leave_room_for_pictures(browser: Any, address: str) -> None:
    one = Tab(browser, viewport={"width": 390, "height": 800})
    one.page.goto(address + "?q=" + "a+red+star+above+a+blue+circle+" * 30)
    one.page.wait_for_selector(".hit .chip")
    assert one.page.locator(".open").first.bounding_box()["y"] < 400
    assert one.page.locator(".hit").nth(1).bounding_box()["y"] < 1100
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not one.errors
    one.context.close()


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
