"""Sessions on an index that is updated while it is served.

The background is measured anew for each state of an index, which may take seconds. This is done in a thread;
until then queries use the session before, which is complete and consistent. A deleted index is refused, and
one made anew in its folder is waited for.
"""

import logging
import threading
import time

from wordsight.search.index.index import IndexReplaced
from wordsight.search.searcher import Searcher
from wordsight.search.searcher_state import SearchSession, SessionCache
from wordsight.web.problems import Refused

MAX_WAIT_SECONDS = 0.3  # if measuring takes no longer, the next query waits for it
REST_FACTOR = 4  # pause between two measurements, in durations of the last one
_log = logging.getLogger("wordsight.web")


class LiveIndex(SessionCache):
    """Sessions that follow the index in the background; a change shows some seconds later."""

    def __init__(self, searcher: Searcher) -> None:
        shares = searcher.false_positive_rate, searcher.word_false_positive_rate
        super().__init__(searcher.index, searcher.memory_mb, *shares)
        self.took, self._next = 0.0, 0.0  # seconds; of the clock
        self._following = threading.Lock()

    def session(self) -> SearchSession:
        """A ready session. Raises Refused if the index cannot be read."""
        try:
            return self._without_waiting() or self._wait_for_newest()
        except (OSError, ValueError) as error:
            raise Refused(503, "index", f"The index cannot be read: {error}.") from error

    def _without_waiting(self) -> SearchSession | None:
        """The newest session, or the one before while that is made; None if it must be waited for."""
        session = self._session
        if session is None:
            return None
        try:
            newest = self._is_newest(session)
        except IndexReplaced:
            return None
        if newest:
            return session
        if self.took <= MAX_WAIT_SECONDS or session.index is not self.index:
            return None
        if time.monotonic() >= self._next and self._following.acquire(blocking=False):
            threading.Thread(target=self._follow, name="wordsight-follow").start()
        return session

    def _wait_for_newest(self) -> SearchSession:
        with self._following:
            return self._current()

    def _follow(self) -> None:
        try:
            self._newest()
        except Exception:
            _log.exception(
                "the index has changed, but its new state cannot be read; the state before is served"
            )
        finally:
            self._next = time.monotonic() + REST_FACTOR * self.took
            self._following.release()

    def _newest(self) -> SearchSession:
        """The newest session; the caller holds a lock, and another thread may have made it meanwhile."""
        if self._session is not None and self._is_newest(self._session):
            return self._session
        _ = self.index.matcher  # loaded once, and not part of the measured time
        began = time.monotonic()
        before = self._session
        session = self._open()
        if self.index.kind == "images" and len(session.snapshot):
            session.prepare()
            session.screen.prepare()
        self._session, self.took = session, time.monotonic() - began
        _log_change(before, session, self.took)
        return session


def _log_change(before: SearchSession | None, after: SearchSession, seconds: float) -> None:
    if before is None:
        what = "opened"
    else:
        what = "followed" if before.index is after.index else "replaced by another index, which is served now"
    kind = "pictures" if after.index.kind == "images" else "texts"
    message = "%s: %s; %d %s, ready after %.1f s"
    _log.info(message, after.index.name, what, len(after.snapshot), kind, seconds)
