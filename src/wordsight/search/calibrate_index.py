"""An index -> its calibration, measured and stored before its first query."""

from wordsight.search.engine.shortlist import Recall
from wordsight.search.index.interface import SearchableIndex
from wordsight.search.relevance import threshold
from wordsight.search.searcher_state import from_one_index, new_session


@from_one_index
def calibrate(index: SearchableIndex, memory_mb: float = 256.0) -> Recall | None:
    """Measure and store the background of an index, before its first query.

    Returns the recall of the shortlist if the index is large enough to use one. Where another writer deletes
    items meanwhile, it begins again.
    """
    shares = (threshold.FALSE_POSITIVE_RATE, threshold.WORD_FALSE_POSITIVE_RATE)
    with new_session(index, memory_mb, shares) as session:
        if index.kind != "images" or not len(session.snapshot):
            return None
        session.prepare()
        return session.prepare_shortlist()
