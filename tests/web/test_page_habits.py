"""Habits of the page: a list of keys, saved searches, endless scrolling, a picture mixed with words."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.browser_page import Tab, needs_browser, search, serving, until
from support.search_models import model

from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

absent = "the page is tested in a browser where wordsight[serve] and playwright are installed"
create_app = pytest.importorskip("wordsight.web.app", reason=absent).create_app
pytest.importorskip("playwright.sync_api", reason=absent)
pytestmark = needs_browser


def test_a_question_mark_lists_the_keys_unless_one_is_typing(tab: Any) -> None:
    dialog = tab.locator("#help-dialog")
    tab.locator("#query").press("?")
    until(tab, "document.querySelector('#help-dialog').open")
    assert "first and last picture" in dialog.inner_text()
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    tab.locator("#query").fill("star")
    tab.locator("#query").press("?")
    assert not dialog.is_visible()
    assert tab.locator("#query").input_value() == "star?"


def test_a_saved_search_is_a_link_on_the_first_page(tab: Any) -> None:
    assert not tab.locator("#save").is_visible()
    search(tab, "a red star")
    tab.locator("#save").click()
    assert tab.locator("#save").inner_text() == "★ Saved"
    tab.locator("#query").fill("")
    album = tab.locator("#albums a")
    album.wait_for()
    assert album.get_attribute("href") == "?q=a+red+star"
    album.click()
    until(tab, "document.querySelector('#query').value === 'a red star'")
    tab.locator("#hits .chip").first.wait_for()
    tab.reload()
    tab.locator("#save").wait_for()
    assert tab.locator("#save").get_attribute("aria-pressed") == "true"
    tab.locator("#save").click()
    tab.locator("#query").fill("")
    until(tab, "document.querySelector('#albums').hidden")


def test_an_album_is_removed_by_its_button(tab: Any) -> None:
    search(tab, "circle")
    tab.locator("#save").click()
    tab.locator("#query").fill("")
    tab.get_by_role("button", name="Remove the album circle").click()
    assert tab.locator("#albums").is_hidden()


def test_what_somebody_stored_by_hand_opens_nothing_foreign(tab: Any) -> None:
    stored = json.dumps([{"name": "x", "search": "javascript:alert(1)"}])
    tab.evaluate("stored => localStorage.setItem('wordsight.albums', stored)", stored)
    tab.reload()
    tab.wait_for_selector(".hit")
    assert tab.locator("#albums a").count() == 0


def test_a_picture_and_words_are_mixed_by_a_slider(tab: Any) -> None:
    tab.locator(".open").first.click()
    tab.locator("#viewer .similar").click()
    assert tab.locator("#mix").is_hidden()
    tab.locator("#query").fill("star")
    tab.locator("#mix").wait_for()
    with tab.expect_request(lambda request: "weight=0.9" in request.url):
        tab.locator("#mix input").fill("90")
    until(tab, "location.search.includes('mix=90')")
    tab.reload()
    until(tab, "document.querySelector('#mix input').value === '90'")


def test_pictures_follow_as_one_scrolls(browser: Any, tmp_path: Path) -> None:
    """All of them where one browses; a search goes on by itself only while pictures match."""
    (tmp_path / "pictures").mkdir()
    for number in range(60):
        Image.new("RGB", (40, 30), (4 * number, 255 - 4 * number, 99)).save(
            tmp_path / f"pictures/{number:02}.png"
        )
    many = Index.create(tmp_path / "index", model("max-sim"))
    many.update([tmp_path / "pictures"])
    with serving(create_app(Searcher(many), None)) as address:
        one = Tab(browser, viewport={"width": 500, "height": 500})
        one.page.goto(address)
        one.page.wait_for_selector(".hit")
        scroll = "scrollTo(0, document.body.scrollHeight), document.querySelectorAll('.hit').length == 60"
        until(one.page, scroll)
        one.context.close()


def test_a_page_that_nobody_uses_moves_nothing(tab: Any) -> None:
    until(tab, "document.getAnimations().length === 0")
