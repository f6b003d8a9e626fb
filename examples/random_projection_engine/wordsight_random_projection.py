"""A search engine for wordsight: candidates by the signs of random projections, scored exactly.

Use it by name: ``wordsight search photos.index "a dog" --engine random-projection``.
"""

import numpy as np

from wordsight import Engine

BITS = 256
CANDIDATES = 1000  # at least so many rows are scored


class RandomProjection(Engine):
    """Stores one bit per random direction for each mean vector, 32 bytes per picture.

    Source: Charikar, Similarity Estimation Techniques from Rounding Algorithms, STOC 2002, section 3.
    """

    def __init__(self, session):
        super().__init__(session)
        draw = np.random.default_rng(0)
        self.directions = draw.standard_normal((self.snapshot.layout.dim, BITS), np.float32)
        self.codes = self.snapshot.mean_vectors(np.arange(len(self.snapshot))) @ self.directions > 0

    def search(self, query, filters, k):
        rows = self.rows(filters)
        code = query.mean_vector @ self.directions > 0
        agreement = (self.codes[rows] == code).sum(1)  # of 256; 256 x (1 - angle / pi) on average
        best = np.argsort(-agreement, kind="stable")[: max(k, CANDIDATES)]
        return query.score(rows[best])
