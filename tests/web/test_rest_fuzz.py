"""The REST interface against its own description: what it allows is answered, what it forbids is refused."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from support.search_models import index, texts_index

from wordsight.search.searcher import Searcher
from wordsight.web.security import AccessPolicy

absent = "the REST interface is fuzzed where schemathesis and wordsight[serve] are installed"
schemathesis = pytest.importorskip("schemathesis", reason=absent)
pytest.importorskip("schemathesis.specs.openapi.checks", reason=absent)
create_app = pytest.importorskip("wordsight.web.app", reason=absent).create_app

# a schema cannot say which bytes are a picture, nor which sentences are a query
UNDESCRIBED = [schemathesis.specs.openapi.checks.positive_data_acceptance]
app = create_app(Searcher(index()), Searcher(texts_index()))
described = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})


@described.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case: Any) -> None:
    case.call_and_validate(headers={"host": "localhost"}, excluded_checks=UNDESCRIBED)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/rest_fuzz.py, which asks a hundred thousand times; here it asks a little."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module("rest_fuzz")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_requests_and_odd_bytes_are_answered_as_promised(program: Any, tmp_path: Path) -> None:
    images, texts = program.made(tmp_path)
    guarded = create_app(images, texts, AccessPolicy(program.TOKEN))
    odd = program.fuzz(create_app(images, texts), guarded, range(400), seed=1)
    assert not odd.broken
    assert {200, 400, 401, 404, 422} <= set(odd.statuses)
    of_bytes = program.fuzz_bytes(create_app(images, texts), range(150), seed=1)
    assert not of_bytes.broken
    assert of_bytes.statuses[400] > 20


def test_the_program_sees_a_promise_that_is_broken(program: Any, tmp_path: Path) -> None:
    images, texts = program.made(tmp_path)
    open_to_all = create_app(images, texts, AccessPolicy(roots=(tmp_path,)))
    for path, is_guarded, told in (
        ("/v1/items/3/original", False, "nobody indexed"),
        ("/v1/about", True, "without the token"),
    ):
        request = program.Request("GET", path, [("host", "localhost")])
        answered = asyncio.run(program.answer(open_to_all, request))
        with pytest.raises(AssertionError, match=told):
            program.check(is_guarded, request, *answered, program.Outcome())
