"""A trained index of photos -> as many sets of vectors as wanted, clustered like its own, and queries.

Vectors are projected to ``dim`` by the principal axes of regions and words. A made picture takes regions of
one photo and of photos like it, blends pairs of them, and adds differences of other regions as noise, so that
the covariance stays that of real regions. Queries are captions, encoded by the index's model and projected
likewise.
"""

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from made_index import build, words_indexed_last, write_batch
from torch import Tensor
from torch.nn import functional as F

from wordsight.search.index import database, manifest
from wordsight.search.index.index import Index
from wordsight.search.index.vector_files import pack
from wordsight.search.index.writer import Writer
from wordsight.search.relevance.null_scores import spread_rows
from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels.packed import masked_unit

NEIGHBOURS = 10  # photos like a photo, whose regions its copies may take
OWN_SHARE = 0.5  # regions that come from the photo itself
NOISE = 0.35  # length of the noise, before a vector gets length 1
REGIONS_PER_BATCH = 64_000  # made, written and forgotten before the next: memory stays small
WORDS_PER_REGION = 0.5  # weight of words when the axes are chosen


@dataclass(frozen=True, eq=False)
class Photos:
    """Vectors of photos and of captions, projected and of length 1."""

    regions: Float[Tensor, "photo region dim"]
    near: Float[Tensor, "photo neighbour"]  # photos with the most similar means
    queries: list[Float[Tensor, "word dim"]]

    @classmethod
    @torch.no_grad()
    def of(cls, folder: Path, dim: int, queries: int) -> "Photos":
        index = Index.open(folder)
        with index.snapshot() as snapshot:
            most = np.bincount(snapshot.lengths).argmax()
            stored = snapshot.gather(np.flatnonzero(snapshot.lengths == most))
            items = snapshot.items(spread_rows(len(snapshot), queries))
        units = masked_unit(stored)
        texts = [item.text.split("\n")[n % 5] for n, item in enumerate(items) if item.text.count("\n") >= 4]
        words = [masked_unit(index.matcher.encode_texts([text]))[0] for text in texts]
        axes = _axes(units.flatten(0, 1), torch.cat(words), dim)
        regions = F.normalize(units @ axes, dim=-1)
        means = F.normalize(regions.mean(1), dim=-1)
        near = (means @ means.T).topk(NEIGHBOURS + 1, dim=1).indices
        return cls(regions, near, [F.normalize(each @ axes, dim=-1) for each in words])

    def pictures(self, first: int, count: int, regions: int) -> Float[Tensor, "picture region dim"]:
        """Made pictures from number ``first`` on; always the same for the same numbers."""
        draw = torch.Generator().manual_seed(first)
        shape = (count, regions)

        def some(most: int) -> Tensor:
            return torch.randint(most, shape, generator=draw)

        photos, slots = self.regions.shape[:2]
        base = torch.randint(photos, (count, 1), generator=draw).expand(shape)
        other = self.near[base, some(self.near.shape[1])]
        own = torch.rand(shape, generator=draw) < OWN_SHARE
        one = self.regions[torch.where(own, base, other), some(slots)]
        two = self.regions[other, some(slots)]
        share = torch.rand(*shape, 1, generator=draw)
        noise = self.regions[some(photos), some(slots)] - self.regions[some(photos), some(slots)]
        return F.normalize(torch.lerp(one, two, 0.5 * share) + NOISE * F.normalize(noise, dim=-1), dim=-1)

    def query_sets(self) -> list[EmbeddingSet]:
        return [EmbeddingSet(each[None], torch.ones(1, len(each), dtype=torch.bool)) for each in self.queries]


def _axes(regions: Tensor, words: Tensor, dim: int) -> Float[Tensor, "wide dim"]:
    """The axes that hold most of the second moment of both kinds of vectors."""
    moment = regions.T @ regions / len(regions) + WORDS_PER_REGION * words.T @ words / len(words)
    return torch.linalg.eigh(moment).eigenvectors[:, -dim:].flip(1)


def write_index(folder: Path, photos: Photos, pictures: int, regions: int, pooling: str = "mean") -> Index:
    """An index of made pictures, written by the package's own writer; its model never reads a text."""
    dim = photos.regions.shape[2]
    with tempfile.TemporaryDirectory() as model:
        build(dim, "max-sim", pooling).save_pretrained(Path(model) / "model")
        index = Index.create(folder, Path(model) / "model")
    database.SYNCHRONOUS = "OFF"
    batch = max(1, REGIONS_PER_BATCH // regions)
    with manifest.writing(folder):
        writer = Writer(folder, index.meta)
        with closing(writer), words_indexed_last(writer):
            for first in range(0, pictures, batch):
                vectors = photos.pictures(first, min(batch, pictures - first), regions)
                mask = torch.ones(vectors.shape[:2], dtype=torch.bool)
                packed = pack(EmbeddingSet(vectors, mask), index.meta.layout, True)
                write_batch(writer, packed, first, [""] * len(vectors))
    return index
