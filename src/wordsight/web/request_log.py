"""Log of failed and slow requests: id, route and time, never the query."""

import logging
import secrets
import traceback

SLOW_SECONDS = 2.0
REFUSED_STATUSES = (401, 403, 408, 413, 421)  # rejected clients and broken requests
_log = logging.getLogger("wordsight.web")


def new_id() -> str:
    """Id of a request; a failed answer has it, to find the request in the log."""
    return secrets.token_hex(4)


def record(id: str, method: str, route: str, status: int, seconds: float) -> None:
    """Log a request; ``route`` is the pattern, without ids and queries."""
    _log.log(
        _level(status, seconds), "request %s: %s %s: %d after %.2f s", id, method, route, status, seconds
    )


def _level(status: int, seconds: float) -> int:
    if status >= 500:
        return logging.WARNING if status == 503 else logging.ERROR  # busy is not a bug
    if seconds >= SLOW_SECONDS:
        return logging.WARNING
    return logging.INFO if status in REFUSED_STATUSES else logging.DEBUG


def record_error(id: str, error: BaseException) -> None:
    """Log the traceback of an unforeseen error; its message may quote the query, so only at level debug."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.error("request %s failed", id, exc_info=error)
    else:
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("request %s failed: %s\n%s", id, type(error).__name__, where.rstrip())
