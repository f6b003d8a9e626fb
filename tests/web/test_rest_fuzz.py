"""The REST interface against its own description: what it allows is answered, what it forbids is refused."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from support.search_models import index, texts_index

from wordsight.search.searcher import Searcher

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
