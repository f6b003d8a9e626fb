"""A failure stays in its section, extras come with their commands, the hub has a limit."""

import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError

import pytest

from wordsight.doctor import hub, packages
from wordsight.doctor.facts import Fact, Report, State, section


def test_a_section_that_fails_is_a_problem_and_the_facts_before_it_stay() -> None:
    def read() -> Iterator[Fact]:
        yield Fact("first", 1)
        raise OSError("no such device")

    found = section("disk", read)
    assert [fact.name for fact in found.facts] == ["first", "failed"]
    assert Report([found]).problems[0].value == "OSError: no such device"


def test_values_are_written_as_people_read_them() -> None:
    assert Fact("bfloat16", True).to_text() == "  bfloat16: yes"
    assert Fact("threads", 1).to_text() == "  threads: 1"
    assert Fact("models", []).to_text() == "  models: none"
    assert Fact("disk", "1 GB", State.note, "make room").to_text() == "- disk: 1 GB (make room)"


def test_an_extra_that_is_not_installed_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = packages.version

    def without_fastapi(name: str) -> str:
        if name == "fastapi":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(packages, "version", without_fastapi)
    found = {fact.name: fact for fact in packages.extras()}
    assert found["serve"].value == "not installed: fastapi"
    assert found["serve"].advice == "pip install 'wordsight[serve]'"
    assert not {"test", "dev", "docs"} & set(found)
    assert "pillow-heif" in found["heic"].value[0]


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.1)
    end = threading.Event()
    monkeypatch.setattr(hub, "_answer", lambda address: "ok" if end.wait() else "")
    found = hub._access("https://nowhere.example")
    end.set()
    assert found.state is State.note
    assert "no answer" in found.value
