"""An index of regions -> its search settings with their recall, measured once and stored with it."""

from wordsight.search.engine.regions import Regions
from wordsight.search.index import region_meta
from wordsight.search.index.index import Index
from wordsight.search.index.region_meta import SearchSettings
from wordsight.search.relevance import threshold
from wordsight.search.searcher_state import SearchSession


def calibrate_regions(index: Index, memory_mb: float = 256.0) -> SearchSettings | None:
    """Measure and store the recall of the index of regions; None if it is known, or without such an index."""
    meta = region_meta.read_meta(index.folder)
    if meta is None or meta.settings.queries:
        return None
    shares = (threshold.FALSE_POSITIVE_RATE, threshold.WORD_FALSE_POSITIVE_RATE)
    with SearchSession(index, index.snapshot(), memory_mb, shares) as session:
        engine = Regions(session)
        return None if engine.obstacle else engine.settings
