"""An error that the user can fix is one line and an exit code; anything else is said to be a bug."""

import errno
from pathlib import Path

import pytest

from wordsight.cli.main import main
from wordsight.errors import (
    InputError,
    MissingFileError,
    MissingItemError,
    MissingPackageError,
    NonFiniteError,
    StorageError,
    WordsightError,
    user_message,
)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str]:
    """The exit code of a command and what it writes to stderr."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code, capsys.readouterr().err


def break_loading(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Put a bug into the reading of configurations."""

    def load_config(*_: object) -> None:
        raise error

    monkeypatch.setattr("wordsight.config.load_config", load_config)


def test_an_error_that_the_user_can_fix_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "config", "show", "no-such-config")
    assert code == 1
    assert text.count("\n") == 1
    assert text.startswith("wordsight: there is no configuration no-such-config")


@pytest.mark.parametrize("error", [ValueError("odd number"), KeyError("dim"), RuntimeError(), OSError("odd")])
def test_anything_else_is_a_bug_and_says_what_to_do(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_loading(monkeypatch, error)
    code, text = said(capsys, "config", "show", "demo")
    assert code == 1
    assert text.startswith(f"wordsight: internal error: {type(error).__name__}")
    assert "please report it" in text
    assert "--traceback" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_traceback_is_shown_wherever_the_option_stands(
    place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_loading(monkeypatch, ValueError("odd number"))
    arguments = ["config", "show", "demo"]
    arguments.insert(place, "--traceback")
    code, text = said(capsys, *arguments)
    assert code == 1
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith("ValueError: odd number\n")


def test_the_environment_asks_for_tracebacks_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORDSIGHT_DEBUG", "1")
    assert said(capsys, "config", "show", "no-such-config")[1].startswith("Traceback")
    monkeypatch.setenv("WORDSIGHT_DEBUG", "0")
    assert not said(capsys, "config", "show", "no-such-config")[1].startswith("Traceback")


def test_a_query_that_reads_like_the_option_is_a_query(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "search", "no-such-folder", "--", "--traceback")
    assert (code, "no-such-folder is not there" in text) == (1, True)


def test_files_that_cannot_be_opened_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, text = said(capsys, "vocab", "build", tmp_path / "file" / "below.txt", "--out", tmp_path / "v.json")
    assert code == 1
    assert str(tmp_path / "file") in text
    assert "internal error" not in text
    (tmp_path / "texts.txt").write_text("a dog\n" * 9)
    code, text = said(capsys, "vocab", "build", tmp_path / "texts.txt", "--out", tmp_path / "file" / "v.json")
    assert code == 1
    assert str(tmp_path / "file") in text
    assert "internal error" not in text


def test_what_the_system_says_of_files_memory_and_packages_is_no_bug() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert user_message(full) == "a file could not be written: no space left on device"
    assert user_message(OSError(errno.EACCES, "Permission denied", "a.csv")) == "a.csv: Permission denied"
    assert user_message(OSError("no file is named")) is None
    assert user_message(ModuleNotFoundError(name="onnxruntime")) is not None
    assert "'wordsight[train]'" in str(user_message(ModuleNotFoundError(name="torch.nn")))
    assert user_message(ModuleNotFoundError(name="wordsight.no_such_room")) is None
    assert "memory" in str(user_message(MemoryError()))
    assert "memory" in str(user_message(RuntimeError("DefaultCPUAllocator: can't allocate memory")))
    assert user_message(RuntimeError("shapes differ")) is None


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (InputError, ValueError),
        (MissingFileError, FileNotFoundError),
        (MissingItemError, KeyError),
        (MissingPackageError, ModuleNotFoundError),
        (NonFiniteError, FloatingPointError),
        (StorageError, OSError),
    ],
)
def test_a_kind_of_error_is_also_the_one_that_python_has_for_it(
    kind: type[WordsightError], known: type[Exception]
) -> None:
    error = kind("the value is 3, at most 2 is possible", "give a smaller one")
    assert isinstance(error, known)
    assert str(error) == "the value is 3, at most 2 is possible; give a smaller one"
    assert user_message(error) == str(error)
