"""Long work says how far it is: a bar on a terminal; in a log a line at the start, every 30 s, at the end."""

import io
import logging
import re
from pathlib import Path

import pytest

from wordsight.runtime.progress import LoggedProgress, ProgressDisplay, duration

SOURCE = Path(__file__).parents[2] / "src" / "wordsight"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def lines_of(calls: list[tuple[float, str, int, int]], quiet_seconds: float = 0.0) -> list[str]:
    """Lines in a log of work that calls at these times."""
    log, clock = io.StringIO(), Clock()
    with ProgressDisplay(quiet_seconds, log, clock) as progress:
        for after, stage, done, total in calls:
            clock.now = 100.0 + after
            progress(stage, done, total)
    return log.getvalue().splitlines()


def test_a_log_gets_a_line_at_the_start_every_thirty_seconds_and_at_the_end() -> None:
    assert lines_of([(seconds, "pictures", 2 * seconds, 150) for seconds in range(0, 76)]) == [
        "pictures: 0 of 150 done",
        "pictures: 60 of 150, 2 a second, 45 s left",
        "pictures: 120 of 150, 2 a second, 15 s left",
        "pictures: 150 of 150 in 75 s",
    ]


def test_short_work_gets_one_line_and_none_within_the_quiet_seconds() -> None:
    calls = [(0.0, "texts", 0, 8), (0.5, "texts", 8, 8)]
    assert lines_of(calls) == ["texts: 0 of 8 done"]
    assert lines_of(calls, quiet_seconds=5) == []


def test_what_was_all_done_at_its_first_call_gets_no_line() -> None:
    assert lines_of([(0.0, "texts", 8, 8)]) == []


def test_speed_counts_only_this_process() -> None:
    lines = lines_of([(0, "items", 900, 1000), (50, "items", 950, 1000)])
    assert lines[:2] == ["items: 900 of 1,000 done", "items: 950 of 1,000, 1 a second, 50 s left"]


def test_work_of_unknown_length_has_no_time_left_and_ends_when_the_next_begins() -> None:
    calls = [(0, "walk", 0, 0), (40, "walk", 4000, 0), (41, "pictures", 0, 9)]
    assert lines_of(calls) == [
        "walk: started", "walk: 4,000, 100 a second", "walk: 4,000 in 41 s", "pictures: 0 of 9 done",
    ]  # fmt: skip


def test_a_stage_that_comes_again_begins_again() -> None:
    calls = [(0, "images", 0, 5), (9, "images", 5, 5), (9, "texts", 0, 9), (10, "images", 1, 5)]
    assert lines_of(calls) == [
        "images: 0 of 5 done", "images: 5 of 5 in 9 s", "texts: 0 of 9 done", "images: 1 of 5 done",
        "texts: 0 of 9 in 1 s",
    ]  # fmt: skip


def test_a_note_stands_in_the_line() -> None:
    log, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream=log, clock=clock) as progress:
        progress("training", 0, 100, "epoch 1 of 2")
        clock.now += 30
        progress("training", 60, 100, "epoch 2 of 2, loss 0.3")
    assert log.getvalue().splitlines()[1] == (
        "training: 60 of 100, 2 a second, 20 s left, epoch 2 of 2, loss 0.3"
    )


def test_a_terminal_gets_a_bar_that_ends_where_the_work_ends() -> None:
    terminal = Terminal()
    with ProgressDisplay(stream=terminal) as progress:
        for done in range(0, 51):
            progress("pictures", done, 50, "loss 0.3")
    assert "pictures: 100%" in terminal.getvalue()
    assert "50/50" in terminal.getvalue()
    assert "loss 0.3" in terminal.getvalue()


def test_work_that_stops_with_an_error_says_how_far_it_was() -> None:
    log, clock = io.StringIO(), Clock()
    with pytest.raises(OSError, match="full"), ProgressDisplay(0, log, clock) as progress:  # noqa: PT012
        progress("pictures", 0, 10)
        clock.now += 31
        progress("pictures", 4, 10)
        raise OSError("full")
    assert log.getvalue().splitlines()[-1] == "pictures: stopped at 4 of 10 in 31 s"


def test_work_deep_in_the_library_is_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("INFO"), LoggedProgress(logging.getLogger("wordsight.read")) as progress:
        progress("reading shards", 0, 3)
    assert caplog.messages == ["reading shards: 0 of 3 done"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (89, "89 s"), (95, "2 min"), (12_000, "3 h 20 min")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_library_code_never_prints(path: Path) -> None:
    import ast

    if path.relative_to(SOURCE).parts[0] == "cli":
        return
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = [call.id for call in calls if isinstance(call, ast.Name)]
    assert "print" not in names
    bars = re.search(r"from tqdm import", path.read_text())
    assert not bars or path.name == "progress.py"
