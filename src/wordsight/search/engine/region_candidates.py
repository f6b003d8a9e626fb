"""Words and an index of regions -> candidate pictures, with an estimate of the score of each.

For each word the nearest regions are found, and the best of each picture counts. A picture that a word did
not retrieve gets that word's last similarity, an upper bound within the probed lists (imputation as in XTR:
Lee et al., Rethinking the Role of Token Retrieval in Multi-Vector Retrieval, NeurIPS 2023), lowered where the
picture's mean vector is far from the word: of a million pictures 89 % of the ten best were then among the
first 800, and 73 % without.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wordsight.runtime.device import PROCESSOR
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.index.decompose import Decomposition
from wordsight.search.index.region_lists import RegionLists, import_faiss
from wordsight.search.index.region_meta import SearchSettings
from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels.matmul import product
from wordsight.similarity.kernels.packed import masked_unit
from wordsight.tensors import torch

IMPUTED_SLOPE = 0.3  # of the imputed similarity by that of the mean vector
NEAR_SHARE = 0.9  # of the candidates are farther from a word than those whose imputed similarity stays
ABSENT = -1.0  # similarity of a word that finds no region in the probed lists


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pictures that a query may match, by their number in the lists, ascending."""

    numbers: Int[np.ndarray, " candidate"]
    estimates: Float[np.ndarray, " candidate"]
    floor: float  # estimate of every other picture

    def estimates_of(self, numbers: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The estimates of these pictures."""
        if not len(self.numbers):
            return np.full(len(numbers), self.floor)
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[at] == numbers, self.estimates[at], self.floor)

    def best_first(self) -> Int[np.ndarray, " candidate"]:
        """The numbers, from the best estimate on."""
        return self.numbers[np.argsort(-self.estimates, kind="stable")]


def selector(numbers: Int[np.ndarray, " allowed"], total: int) -> Any:
    """faiss's filter for these numbers of ``total``."""
    faiss = import_faiss()
    allowed = np.zeros(total + 7 >> 3 << 3, bool)
    allowed[numbers] = True
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def candidates(
    scorer: QueryScorer,
    parts: Decomposition,
    lists: RegionLists,
    settings: SearchSettings,
    allowed: Any = None,
) -> Candidates:
    """Candidates of one query set; ``allowed`` is a ``selector``."""
    words = word_vectors(scorer.query, parts)
    found, numbers = _nearest(words, lists, settings, allowed)
    is_found = numbers >= 0
    last = np.where(is_found, found, np.inf).min(1, initial=np.inf)
    floors = np.where(np.isfinite(last), last, ABSENT).astype(np.float32)
    pictures, at = np.unique(numbers[is_found], return_inverse=True)
    best = np.full((len(pictures) + 1, len(words)), -np.inf, np.float32)  # the last row: all other pictures
    np.maximum.at(best, (at, np.nonzero(is_found)[0]), found[is_found])
    imputed = np.repeat(floors[None], len(best), 0)
    if not lists.meta.first_only and len(pictures) and np.isinf(best[:-1]).any():
        of_means = product(torch.from_numpy(lists.means(pictures)), torch.from_numpy(words))
        imputed += _lowered(of_means.numpy())
    best = np.where(np.isinf(best), imputed, best)
    estimates = parts.pool(torch.from_numpy(best)).numpy()
    return Candidates(pictures, estimates[:-1], float(estimates[-1]))


def _lowered(nearness: Float[np.ndarray, "picture word"]) -> Float[np.ndarray, "row word"]:
    """How much lower each similarity is imputed than the last one found; in the last row that of the rest."""
    last = int(NEAR_SHARE * (len(nearness) - 1))
    near = np.partition(nearness, last, axis=0)[last]
    together = np.concatenate([nearness, nearness.mean(0, keepdims=True)])
    lowered: np.ndarray = IMPUTED_SLOPE * np.minimum(together - near, 0)
    return lowered


def word_vectors(query: EmbeddingSet, parts: Decomposition) -> Float[np.ndarray, "word dim"]:
    """Unit vectors of the query; a word that counts several times stands several times."""
    units = masked_unit(query.detach().to(PROCESSOR))[0].float()[query.mask[0].cpu()]
    return np.ascontiguousarray((units[:1] if parts.first_only else units).numpy())


def _nearest(
    words: Float[np.ndarray, "word dim"], lists: RegionLists, settings: SearchSettings, allowed: Any
) -> tuple[Float[np.ndarray, "word region"], Int[np.ndarray, "word region"]]:
    """Similarities, descending, and pictures of the nearest regions; -1 where a word finds fewer."""
    faiss = import_faiss()
    probes = min(settings.probes, len(lists.tables.centroids))
    # the many vectors are the rows: as columns they would be packed anew by each product
    nearness = product(lists.centroids, torch.from_numpy(words)).T.contiguous().topk(probes, dim=1)
    parameters = faiss.SearchParametersIVF(nprobe=probes, sel=allowed)
    shape = (len(words), min(settings.nearest, lists.meta.vectors))
    found, numbers = np.empty(shape, np.float32), np.empty(shape, np.int64)
    lists.fetch(nearness.indices.numpy())
    probed, closeness = nearness.indices.numpy(), nearness.values.numpy()
    pointers = (faiss.swig_ptr(array) for array in (probed, closeness, found, numbers))
    lists.searcher.search_preassigned_c(
        len(words), faiss.swig_ptr(words), shape[1], *pointers, False, parameters
    )
    return found, numbers
