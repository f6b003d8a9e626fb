"""A picture that others are to be like -> its regions as a query, and where it is in the index itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from wordsight.files.fingerprint import content_of
from wordsight.pairs import Picture
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.results import Hits
from wordsight.search.searcher_state import SearchSession
from wordsight.sets import EmbeddingSet


@dataclass(frozen=True)
class Itself:
    """The rows of the very picture."""

    rows: Int[np.ndarray, " n"]
    left_out: bool  # it was named by its id, so that it is no hit

    @classmethod
    def of(cls, snapshot: Snapshot, picture: Picture | int, content: str | None) -> "Itself":
        """``content``: the hash of the picture's bytes; that of a file is taken here."""
        if isinstance(picture, int):
            return cls(np.array([snapshot.row_of(picture)]), True)
        if content is None and isinstance(picture, str | Path):
            content = content_of(Path(picture))
        return cls(snapshot.rows_of(content) if content else np.zeros(0, np.int64), False)

    def among(self, rows: Int[np.ndarray, " row"]) -> Bool[np.ndarray, " row"]:
        """Which of these rows are the picture."""
        return np.isin(rows, self.rows)

    def counted(self, hits: Hits, rows: Int[np.ndarray, " row"] | None) -> Hits:
        """The hits, and how many of all that were scored are the picture itself."""
        count = len(self.rows) if rows is None else int(self.among(rows).sum())
        return replace(hits, itself=0 if self.left_out else count)


def embedded(session: SearchSession, picture: Picture | int) -> EmbeddingSet:
    """The regions of a picture, or of an item, as the words of a query."""
    if isinstance(picture, int):
        found = session.snapshot.gather(np.array([session.snapshot.row_of(picture)]))
    else:
        found = session.matcher.encode_images([picture])
    return EmbeddingSet(found.vectors, found.mask)
