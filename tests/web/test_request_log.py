"""The log of a server names failed and slow requests by their route, and never says what was asked."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from support.search_models import index

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient

from wordsight.search.searcher import Searcher
from wordsight.web import request_log
from wordsight.web.app import create_app

ASKED = {"query": "something private"}


@pytest.fixture(scope="module")
def served() -> Iterator[TestClient]:
    app = create_app(Searcher(index()))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as one:
        yield one


def logged(caplog: pytest.LogCaptureFixture, level: int) -> str:
    """What was said at this level and above; at none, what was asked."""
    records = [record for record in caplog.records if record.name == "wordsight.web"]
    assert not [record for record in records if "private" in record.getMessage()]
    return "\n".join(record.getMessage() for record in records if record.levelno >= level)


def test_an_ordinary_request_is_named_at_level_debug_alone(
    served: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "SLOW_SECONDS", float("inf"))  # on a busy machine any may be slow
    with caplog.at_level(logging.DEBUG, logger="wordsight.web"):
        assert served.get("/v1/search", params=ASKED).status_code == 200
    assert ": GET /v1/search: 200 after " in logged(caplog, logging.DEBUG)
    assert "GET" not in logged(caplog, logging.INFO)


def test_a_slow_request_is_a_warning(
    served: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "SLOW_SECONDS", 0.0)
    assert served.get("/v1/search", params=ASKED).status_code == 200
    assert ": GET /v1/search: 200 after " in logged(caplog, logging.WARNING)


def test_a_failed_request_is_found_by_the_id_of_its_answer(
    served: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any, **options: Any) -> None:
        raise ArithmeticError(f"no answer to {given}")

    monkeypatch.setattr(Searcher, "find_images", fails)
    answer = served.get("/v1/search", params=ASKED)
    assert answer.status_code == 500
    assert "private" not in answer.text
    said = logged(caplog, logging.ERROR)
    assert "ArithmeticError" in said
    assert said.split("request ")[1].split()[0].rstrip(":") in answer.text
