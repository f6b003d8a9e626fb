"""A request that failed or was slow -> a line in the log: its id, route and time, never what was asked."""

import logging
import secrets
import traceback

SLOW_SECONDS = 2.0  # seconds
REFUSED_STATUSES = (401, 403, 408, 413, 421)  # who was not let in, or was cut off
_log = logging.getLogger("wordsight.web")


def new_id() -> str:
    """Id of a request; a failed answer carries it, so that it can be found in the log."""
    return secrets.token_hex(4)


def record(id: str, method: str, route: str, status: int, seconds: float) -> None:
    """``route``: the pattern, so that ids of items and what was typed stay out."""
    _log.log(
        _level(status, seconds), "request %s: %s %s: %d after %.2f s", id, method, route, status, seconds
    )


def _level(status: int, seconds: float) -> int:
    if status >= 500:
        return logging.WARNING if status == 503 else logging.ERROR  # busy is no bug
    if seconds >= SLOW_SECONDS:
        return logging.WARNING
    return logging.INFO if status in REFUSED_STATUSES else logging.DEBUG


def record_error(id: str, error: BaseException) -> None:
    """Where an unforeseen error came from. Its words may quote the question: they need --log-level debug."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.error("request %s failed", id, exc_info=error)
    else:
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("request %s failed: %s\n%s", id, type(error).__name__, where.rstrip())
