"""An index that is written while it is served -> its newest moment that is ready to answer.

What an index scores in general is measured anew for each of its states, which may take seconds. Here that is
done beside the questions: until it is done they are answered from the moment before, complete and consistent.
"""

import logging
import threading
import time

from wordsight.search.moment import Moment, Moments
from wordsight.search.searcher import Searcher

AT_ONCE = 0.3  # seconds: what takes no longer is measured before the next answer
REST = 4  # times as long as measuring took, until it is done again: an index may change every second
_log = logging.getLogger("wordsight.serve")


class Followed(Moments):
    """The same promises, except that a change may be seen some seconds later."""

    def __init__(self, searcher: Searcher) -> None:
        shares = searcher.false_accept, searcher.word_false_accept
        super().__init__(searcher.index, searcher.memory_mb, *shares)
        self.took, self._next = 0.0, 0.0  # seconds; of the clock
        self._following = threading.Lock()

    def now(self) -> Moment:
        moment = self._moment
        if moment is not None and moment.snapshot.generation == self.index.generation():
            return moment
        if moment is None or self.took <= AT_ONCE:
            with self._following:
                self._follow()
        elif time.monotonic() >= self._next and self._following.acquire(blocking=False):
            threading.Thread(target=self._beside, name="wordsight-follow").start()
        assert self._moment is not None
        return self._moment

    def _beside(self) -> None:
        try:
            self._follow()
        except Exception:
            _log.exception(
                "the index has changed, and its new state cannot be read; the one before is served"
            )
        finally:
            self._next = time.monotonic() + REST * self.took
            self._following.release()

    def _follow(self) -> None:
        """Under the lock: another may have followed meanwhile."""
        if self._moment is not None and self._moment.snapshot.generation == self.index.generation():
            return
        _ = self.index.matcher  # loaded once; not what following takes
        began = time.monotonic()
        moment = Moment(self.index, self.index.snapshot(), self.memory_mb, self.shares)
        if self.index.kind == "images" and len(moment.snapshot):
            moment.calibration.line(1)
            moment.screen.make()
        self._moment, self.took = moment, time.monotonic() - began
