"""What a machine lacks to start programs on a GPU is one clause."""

from pathlib import Path

import pytest

from wordsight.runtime import compiler
from wordsight.runtime.compiler import missing_for_programs


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with triton, gcc and Python's headers."""
    monkeypatch.delenv("CC", raising=False)
    header = tmp_path / "Python.h"
    header.touch()
    monkeypatch.setattr(compiler, "find_spec", lambda name: name)
    monkeypatch.setattr(compiler.sys, "platform", "linux")
    monkeypatch.setattr(compiler.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "gcc" else None)
    monkeypatch.setattr(compiler, "_headers", lambda: header)


def test_nothing_is_missing() -> None:
    assert missing_for_programs() is None


def test_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    assert missing_for_programs() == "triton is not installed (pip install triton)"


def test_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    assert "no C compiler is installed" in str(missing_for_programs())
    monkeypatch.setattr(compiler.sys, "platform", "win32")  # where triton brings one along
    assert missing_for_programs() is None


def test_a_compiler_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "icx")
    assert missing_for_programs() == (
        "the C compiler icx, which the environment variable CC names, is not there"
    )


def test_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiler, "_headers", lambda: tmp_path / "none" / "Python.h")
    assert "Python's headers are not installed" in str(missing_for_programs())
