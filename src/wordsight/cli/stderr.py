"""Lines for people, and records of wordsight's loggers -> stderr, above a progress bar if one is open."""

import codecs
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wordsight.files.undecodable import shown


def say(line: str) -> None:
    """Write a line to stderr, whatever is in it: what people read never mixes with results."""
    line = printable(line)
    if "tqdm" in sys.modules:  # else there is no bar
        from tqdm import tqdm  # type: ignore[import-untyped]

        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
    sys.stderr.flush()


def printable(text: str) -> str:
    """The text without what a file of others could do to a terminal: control characters are spelt."""
    return "".join(
        one if one.isprintable() or one in "\n " else one.encode("unicode_escape", "surrogatepass").decode()
        for one in shown(text)
    )


def write_any_text_to_stdout() -> None:
    """Names of files are written with their own bytes, and what stdout's encoding lacks is spelt (cp1252)."""
    codecs.register_error("wordsight", _bytes_or_spelt)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="wordsight")


def _bytes_or_spelt(error: UnicodeError) -> tuple[bytes | str, int]:
    assert isinstance(error, UnicodeEncodeError)
    wrong = error.object[error.start : error.end]
    try:
        return wrong.encode("ascii", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return wrong.encode("ascii", "backslashreplace").decode(), error.end


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        important = record.levelno >= logging.WARNING
        say(("warning: " if important else "") + self.format(record))


@contextmanager
def logged_to_stderr() -> Iterator[None]:
    """Show what the library logs, from INFO on, as plain lines."""
    logger, lines = logging.getLogger("wordsight"), _Lines()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before)
