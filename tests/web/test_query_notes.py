"""What a model did not read of a query, and words that it does not know, are said by REST (CLIP#212)."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.search_models import short_index

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient

from wordsight.search.searcher import Searcher
from wordsight.web.app import create_app

LONG = "a red star beside a small blue circle"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("short")
    with TestClient(create_app(Searcher(short_index(folder))), base_url="http://localhost") as one:
        yield one


def test_the_end_that_was_not_read_is_in_the_answer(served: TestClient) -> None:
    def told(path: str, **given: Any) -> Any:
        return served.get(path, params=given).json()

    assert told("/v1/search", query=LONG)["unread"] == "small blue circle"
    assert told("/v1/search", query="a red star")["unread"] == ""
    assert told("/v1/similar", id=1, query=LONG)["unread"] == "small blue circle"
    assert told("/v1/similar", id=1)["unread"] == ""
    assert told("/v1/explain", id=1, query=LONG)["unread"] == "small blue circle"


def test_the_word_that_was_probably_meant_is_in_the_answer(served: TestClient) -> None:
    told = served.get("/v1/search", params={"query": "a red satr"}).json()
    assert told["suggestions"] == [{"word": "satr", "instead": "star"}]
    assert served.get("/v1/search", params={"query": "a red star"}).json()["suggestions"] == []
