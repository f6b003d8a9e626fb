"""Long work says how far it is: a bar on a terminal; in a log a line at the start, and every 30 seconds."""

import io

import pytest

from wordsight.progress import ProgressDisplay, in_words


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stages: list[tuple[float, str, int, int]], patience: float = 0.0) -> list[str]:
    """Lines in a log of work that calls at these times."""
    log, clock = io.StringIO(), Clock()
    with ProgressDisplay(patience, log, clock) as progress:
        for after, stage, done, total in stages:
            clock.now = 100.0 + after
            progress(stage, done, total)
    return log.getvalue().splitlines()


def test_a_log_gets_a_line_at_the_start_and_one_every_thirty_seconds() -> None:
    lines = run([(seconds, "pictures", 2 * seconds, 300) for seconds in range(0, 76)])
    assert lines == [
        "pictures: begins, 0 of 300 done",
        "pictures: 60 of 300, 2 a second, 2 min left",
        "pictures: 120 of 300, 2 a second, 2 min left",
        "pictures: 150 of 300 in 75 s",
    ]


def test_short_work_gets_one_line_and_impatient_work_none() -> None:
    calls = [(0.0, "texts", 0, 8), (1.0, "texts", 8, 8)]
    assert run(calls) == ["texts: begins, 0 of 8 done"]
    assert run(calls, patience=5) == []


def test_speed_is_that_of_what_was_done_here() -> None:
    lines = run([(0, "items", 900, 1000), (50, "items", 950, 1000)])
    assert lines[:2] == ["items: begins, 900 of 1,000 done", "items: 950 of 1,000, 1 a second, 50 s left"]


def test_an_unknown_total_has_no_time_left() -> None:
    assert run([(0, "looking", 0, 0), (40, "looking", 4000, 0)])[1] == "looking: 4,000, 100 a second"


def test_a_stage_that_comes_again_begins_again() -> None:
    lines = run([(0, "images", 0, 5), (1, "images", 5, 5), (2, "images", 1, 5), (3, "texts", 0, 9)])
    assert lines == [
        "images: begins, 0 of 5 done", "images: begins, 1 of 5 done", "texts: begins, 0 of 9 done",
    ]  # fmt: skip


def test_a_terminal_gets_a_bar_that_ends_where_the_work_ends() -> None:
    terminal = Terminal()
    with ProgressDisplay(stream=terminal) as progress:
        for done in range(0, 51):
            progress("pictures", done, 50)
    assert "pictures: 100%" in terminal.getvalue()
    assert "50/50" in terminal.getvalue()


def test_what_stops_with_an_error_says_how_far_it_was() -> None:
    log, clock = io.StringIO(), Clock()
    with pytest.raises(OSError, match="full"), ProgressDisplay(0, log, clock) as progress:  # noqa: PT012
        progress("pictures", 0, 10)
        clock.now += 31
        progress("pictures", 4, 10)
        raise OSError("full")
    assert log.getvalue().splitlines()[-1] == "pictures: 4 of 10 in 31 s"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (89, "89 s"), (95, "2 min"), (12_000, "3 h 20 min")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
