"""An exception that ends a command -> one line on stderr and an exit code, or a traceback for a bug."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from wordsight.cli.stderr import say
from wordsight.errors import user_message

FAILED, USAGE, SKIPPED, ABSENT, INTERRUPTED = 1, 2, 3, 4, 130
TRACEBACK = "--traceback"
DEBUG = "WORDSIGHT_DEBUG"


def without_traceback_option(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without --traceback, which may stand anywhere before "--", and whether it was given."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != TRACEBACK]
    given = len(options) < end or os.environ.get(DEBUG, "") not in ("", "0")
    return [*options, *arguments[end:]], given


def stop(error: BaseException, show_traceback: bool, verb: str = "this") -> NoReturn:
    """End the process. An error that the user can fix is one line; a bug asks to be reported.

    ``verb``: the command that failed, without its arguments.
    """
    if show_traceback:
        traceback.print_exception(error)
        sys.exit(FAILED)
    message = _message(error, verb)
    if message is None:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        place = _place_outside(error)
        message = (
            f"{place}: {what}; this is no code of wordsight, {TRACEBACK} shows how it was called"
            if place
            else f"internal error: {what}; please report it, with what this command prints with {TRACEBACK}"
        )
    say(f"wordsight: {message}")
    sys.exit(ABSENT if type(error).__name__ == "MissingModel" else FAILED)


def _place_outside(error: BaseException) -> str:
    """Where a part of the user's own failed; the registry is there if it built one."""
    trust = sys.modules.get("wordsight.registry.trust")
    return trust.place_outside(error) if trust else ""


def _message(error: BaseException, verb: str) -> str | None:
    if type(error).__name__ == "ProtocolMismatchError":  # its module is not imported for every command
        from wordsight.cli.evaluate import WAYS

        return str(error.explain(WAYS))  # type: ignore[attr-defined]
    return user_message(error, verb)
