"""Indexing from a feature store: pictures whose features were extracted before are not read again."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wordsight.errors import InputError
from wordsight.files.fingerprint import content_of
from wordsight.matcher import Matcher
from wordsight.read.features.store import FeatureStore
from wordsight.search.index.candidate import Candidate, Made, StoredPicture
from wordsight.search.index.encoder import Encoded, LocalEncoder, encode
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch


class StoredEncoder(LocalEncoder):
    """Takes regions from a feature store, found by the content of a picture; reads pictures that it lacks.

    Raises InputError if the features came from another reader than the matcher's.
    """

    def __init__(self, matcher: Matcher, store: FeatureStore) -> None:
        super().__init__(matcher)
        identity = getattr(matcher.reader, "identity", None)
        if identity is None:
            raise InputError(
                "this model reads no features from pictures by itself, so no feature store fits it",
                "leave --features out",
            )
        store.check_reader(identity, matcher.reader.settings)
        self.store = store

    def prepare(self, path: Path) -> Made:
        row = self.store.row_of.get(content_of(path))
        return super().prepare(path) if row is None else StoredPicture(row)

    def submit(self, batch: Sequence[Candidate]) -> Callable[[], Encoded]:
        return lambda: self._encode([candidate.made for candidate in batch])

    @torch.no_grad()
    def _encode(self, made: Sequence[Made | None]) -> Encoded:
        """Embeddings and sizes of a batch, in its order."""
        rows = [one.row for one in made if isinstance(one, StoredPicture)]
        if not rows:
            return encode(self.matcher, made)
        stored = self.matcher.encode_images(self.store.read(rows))
        read = encode(self.matcher, [one for one in made if not isinstance(one, StoredPicture)])
        is_stored = np.array([isinstance(one, StoredPicture) for one in made])
        order = np.concatenate([np.flatnonzero(is_stored), np.flatnonzero(~is_stored)])
        parts = [stored] if read.embeddings is None else [stored, read.embeddings]
        sizes = [*(self.store.sizes[row] for row in rows), *read.sizes]
        back = np.argsort(order).tolist()
        return Encoded(EmbeddingSet.join(parts)[back], [sizes[place] for place in back])
