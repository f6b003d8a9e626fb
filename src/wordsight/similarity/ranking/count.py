"""Blocks of scores -> the rank of each item's best match, by counting: no full matrix is ever held."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from jaxtyping import Float, Int

from wordsight.errors import InputError
from wordsight.tensors import Tensor, torch

Ties: TypeAlias = Literal["pessimistic", "reference"]


class ScoreBlock(NamedTuple):
    """The scores of some images with some texts; every pair is in exactly one block."""

    images: Int[Tensor, " image"]  # row numbers, in any order
    texts: Int[Tensor, " text"]  # column numbers, in any order
    scores: Float[Tensor, "image text"]


def ranks_from_blocks(
    blocks: Iterable[ScoreBlock],
    image_identities: Int[Tensor, " image"],
    text_identities: Int[Tensor, " text"],
    ties: Ties = "pessimistic",
) -> tuple[Int[Tensor, " image"], Int[Tensor, " text"]]:
    """The 0-based rank of each image's best text (i2t) and of each text's best image (t2i).

    Equal identities belong together, any number of texts per image. ``blocks`` is read twice, so it must be
    a list or an object whose ``__iter__`` starts anew (``MatrixBlocks``), not a generator.

    ``ties``: "pessimistic" counts an equal score of a wrong item against the query; "reference" orders equal
    scores as the reference implementations do (descending argsort reversed: the larger index wins).

    Raises ValueError for scores that are not finite (names the first) and for items that nothing belongs to.
    """
    if iter(blocks) is blocks:
        raise InputError("blocks are read twice; give a list or an object like MatrixBlocks, not a generator")
    best = BestMatches(image_identities, text_identities)
    for block in blocks:
        best.see(block)
    counter = RankCounter(best, ties)
    for block in blocks:
        counter.count(block)
    return counter.image_ranks, counter.text_ranks


class MatrixBlocks:
    """A matrix of scores (a tensor, a NumPy array, a memory map) as blocks of so many rows."""

    def __init__(self, scores: object, rows: int = 256):
        self.scores, self.rows = scores, rows

    def __iter__(self):  # type: ignore[no-untyped-def]
        count, width = self.scores.shape  # type: ignore[attr-defined]
        texts = torch.arange(width)
        for start in range(0, count, self.rows):
            stop = min(start + self.rows, count)
            yield ScoreBlock(torch.arange(start, stop), texts, torch.as_tensor(self.scores[start:stop]))  # type: ignore[index]


class BestMatches:
    """The score and the position of every item's best match."""

    def __init__(self, image_identities: Int[Tensor, " image"], text_identities: Int[Tensor, " text"]):
        _must_belong(image_identities, text_identities, "image", "text")
        _must_belong(text_identities, image_identities, "text", "image")
        self.image_identities, self.text_identities = image_identities, text_identities
        self.image_scores = torch.full(image_identities.shape, -torch.inf, dtype=torch.float64)
        self.text_scores = torch.full(text_identities.shape, -torch.inf, dtype=torch.float64)
        self.equal = 0.0  # scores no further apart count as equal
        self.image_places = torch.full(image_identities.shape, -1)  # the last of equally good texts
        self.text_places = torch.full(text_identities.shape, -1)

    def see(self, block: ScoreBlock) -> None:
        scores = finite(block)
        belongs = self.image_identities[block.images][:, None] == self.text_identities[block.texts]
        rows, columns = belongs.nonzero(as_tuple=True)
        self.add(block.images[rows], block.texts[columns], scores[rows, columns])

    def add(
        self, images: Int[Tensor, " pair"], texts: Int[Tensor, " pair"], scores: Float[Tensor, " pair"]
    ) -> None:
        """Matching pairs with their scores."""
        _keep_best(self.image_scores, self.image_places, images, texts, scores, self.equal)
        _keep_best(self.text_scores, self.text_places, texts, images, scores, self.equal)


def _keep_best(
    best: Float[Tensor, " n"],
    places: Int[Tensor, " n"],
    items: Int[Tensor, " pair"],
    matches: Int[Tensor, " pair"],
    scores: Float[Tensor, " pair"],
    equal: float,
) -> None:
    before = best.clone()
    best.scatter_reduce_(0, items, scores.to(best), "amax")
    places[best > before + equal] = -1
    winning = scores.to(best) >= best[items] - equal
    places.scatter_reduce_(0, items[winning], matches[winning], "amax")


class RankCounter:
    """Counts, block by block, the wrong items that come before the best match."""

    def __init__(self, best: BestMatches, ties: Ties = "pessimistic"):
        if ties not in ("pessimistic", "reference"):
            raise InputError(f'ties = "{ties}"; expected "pessimistic" or "reference"')
        self.best, self.ties = best, ties
        self.image_ranks = torch.zeros_like(best.image_places)
        self.text_ranks = torch.zeros_like(best.text_places)

    def count(self, block: ScoreBlock) -> None:
        best, (images, texts, _) = self.best, block
        scores = finite(block)
        wrong = best.image_identities[images][:, None] != best.text_identities[texts]
        before = self._before(
            scores, best.image_scores[images][:, None], texts, best.image_places[images][:, None]
        )
        self.image_ranks[images] += (before & wrong).sum(1)
        before = self._before(scores, best.text_scores[texts], images[:, None], best.text_places[texts])
        self.text_ranks[texts] += (before & wrong).sum(0)

    def _before(self, scores: Tensor, threshold: Tensor, places: Tensor, best_places: Tensor) -> Tensor:
        equal = self.best.equal
        if self.ties == "pessimistic":
            return scores >= threshold - equal
        tied = (scores - threshold).abs() <= equal
        return (~tied & (scores > threshold)) | (tied & (places > best_places))


def finite(block: ScoreBlock) -> Tensor:
    """The scores in float64, on the CPU; one that is not finite is an error that names its pair."""
    scores = block.scores.cpu().double()
    if not bool(scores.isfinite().all()):
        row, column = (~scores.isfinite()).nonzero()[0].tolist()
        raise InputError(
            f"the score of image {int(block.images[row])} with text {int(block.texts[column])} is "
            f"{float(scores[row, column])}; ranks need finite scores: "
            "look for NaN or overflow in the embeddings"
        )
    return scores


def _must_belong(first: Int[Tensor, " n"], second: Int[Tensor, " m"], kind: str, other: str) -> None:
    alone = (~torch.isin(first, second)).nonzero().flatten().tolist()
    if alone:
        raise InputError(
            f"{kind} {alone[0]} (identity {int(first[alone[0]])}) has no {other} that belongs to it, "
            f"nor have {len(alone) - 1} more; leave them out before ranking"
        )
