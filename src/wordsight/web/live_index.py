"""An index that is written while it is served -> its newest moment that is ready to answer.

What an index scores in general is measured anew for each of its states, which may take seconds. Here that is
done beside the questions: until it is done they are answered from the moment before, complete and consistent.
An index that is gone answers no more, and one that is made anew in its folder is waited for.
"""

import logging
import threading
import time

from wordsight.search.index.index import IndexReplaced
from wordsight.search.searcher import Searcher
from wordsight.search.searcher_state import SearchSession, SessionCache
from wordsight.web.problems import Refused

MAX_WAIT_SECONDS = 0.3  # seconds: what takes no longer is measured before the next answer
REST_FACTOR = 4  # times as long as measuring took, until it is done again: an index may change every second
_log = logging.getLogger("wordsight.web")


class LiveIndex(SessionCache):
    """An index that is followed in the background: a change is seen some seconds later."""

    def __init__(self, searcher: Searcher) -> None:
        shares = searcher.false_positive_rate, searcher.word_false_positive_rate
        super().__init__(searcher.index, searcher.memory_mb, *shares)
        self.took, self._next = 0.0, 0.0  # seconds; of the clock
        self._following = threading.Lock()

    def session(self) -> SearchSession:
        """Raises Refused if there is no index that can be read."""
        try:
            return self._without_waiting() or self._wait_for_newest()
        except (OSError, ValueError) as error:
            raise Refused(503, "index", f"The index cannot be read: {error}.") from error

    def _without_waiting(self) -> SearchSession | None:
        """A session without waiting: the newest, or the one before while that is made."""
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
                "the index has changed, and its new state cannot be read; the one before is served"
            )
        finally:
            self._next = time.monotonic() + REST_FACTOR * self.took
            self._following.release()

    def _newest(self) -> SearchSession:
        """Under the lock: another may have followed meanwhile."""
        if self._session is not None and self._is_newest(self._session):
            return self._session
        _ = self.index.matcher  # loaded once; not what following takes
        began = time.monotonic()
        before = self._session
        session = SearchSession(self.index, self.index.snapshot(), self.memory_mb, self.shares)
        if self.index.kind == "images" and len(session.snapshot):
            session.calibration.threshold(1)
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
    _log.info(message, after.index.folder, what, len(after.snapshot), kind, seconds)
