"""A set of vectors -> one vector: mean, max, last, and the generalized pooling of VSE-infinity."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from wordsight import registry
from wordsight.encode.rows import zeroed
from wordsight.errors import InputError
from wordsight.registry.limits import Positive, Size
from wordsight.runtime.exporting import is_exporting
from wordsight.sets import EmbeddingSet

PoolTable: TypeAlias = str | Mapping[str, Any] | nn.Module | None  # a name, a table, a pool; None = none


class Pool(nn.Module):
    """Makes one vector of every set; what the mask leaves out has no part in it."""

    def forward(
        self, vectors: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n dim"]:
        raise NotImplementedError


class MeanPool(Pool):
    """The mean of the real items; zeros for a set without any."""

    def forward(
        self, vectors: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n dim"]:
        count = mask.sum(1, keepdim=True).clamp(min=1)
        return zeroed(vectors, mask).sum(1) / count.to(vectors.dtype)


class MaxPool(Pool):
    """The highest value of each dimension among the real items; zeros for a set without any."""

    def forward(
        self, vectors: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n dim"]:
        highest = vectors.masked_fill(~mask[..., None], -torch.inf).amax(1)
        return torch.where(mask.any(1, keepdim=True), highest, 0)


class LastPool(Pool):
    """The last real item, which is all that a one-directional GRU has read: the text of VSE++."""

    def forward(
        self, vectors: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n dim"]:
        place = torch.arange(mask.shape[1], device=mask.device)
        last = torch.where(mask, place, 0).argmax(1)
        return zeroed(vectors, mask)[torch.arange(mask.shape[0], device=mask.device), last]


class GPO(Pool):
    """VSE-infinity's generalized pooling operator: sort every dimension, then a learned weighted sum.

    ``position_dim``  size of the code that tells the GRU which place of the order it is at
    ``hidden``        units of the GRU in each direction
    ``temperature``   of the softmax over the places

    The weight of the k-th highest value depends on k and on the size of the set alone, so the mean, the
    maximum, and the mean of the highest few are all special cases, and the order of the items is none of its
    business. (Chen et al., CVPR 2021, section 3.)
    """

    def __init__(self, position_dim: Size = 32, hidden: Size = 32, temperature: Positive = 0.1):
        super().__init__()
        if position_dim % 2:
            raise InputError(f"position_dim = {position_dim}; expected an even number: sines and cosines")
        self.position_dim = position_dim
        self.hidden = hidden
        self.temperature = temperature
        self.gru = nn.GRU(position_dim, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(hidden, 1, bias=False)

    def forward(
        self, vectors: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n dim"]:
        if not len(vectors):
            return vectors.sum(1)
        highest_first = descending(vectors.masked_fill(~mask[..., None], -torch.inf).transpose(1, 2))
        lengths = mask.sum(1)
        real = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
        weights = self.weights(lengths, mask.shape[1]).to(vectors.dtype)
        return torch.bmm(torch.where(real[:, None], highest_first, 0), weights[..., None]).squeeze(2)

    def weights(self, lengths: Int[Tensor, " n"], items: int) -> Float[Tensor, "n {items}"]:
        """Weight of each sorted place in a set of that many items; sums to 1, 0 beyond the set."""
        # Sets of one size share their weights.
        sizes, row = _distinct(lengths.clamp(min=1))
        scores = self._scores(sizes, items)
        beyond = torch.arange(items, device=lengths.device) >= sizes[:, None]
        return torch.softmax(scores.masked_fill(beyond, -torch.inf) / self.temperature, 1)[row]

    def _scores(self, sizes: Int[Tensor, " size"], items: int) -> Float[Tensor, "size {items}"]:
        codes = place_codes(items, self.position_dim).to(self.linear.weight)
        is_export = is_exporting()  # a GRU of ONNX reads sets of any sizes unsorted
        packed = pack_padded_sequence(
            codes.expand(sizes.shape[0], -1, -1), sizes.cpu(), batch_first=True, enforce_sorted=is_export
        )
        states = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=items)[0]
        forward, backward = states.chunk(2, dim=-1)
        scores: Tensor = self.linear((forward + backward) / 2)[..., 0]
        return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def _distinct(sizes: Int[Tensor, " n"]) -> tuple[Int[Tensor, " size"], Int[Tensor, " n"]]:
    """Each size once, and the place of each set's; in an export every set has a place of its own."""
    if is_exporting():
        return sizes, torch.arange(sizes.shape[0], device=sizes.device)
    found: tuple[Tensor, Tensor] = sizes.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    return found


def descending(values: Float[Tensor, "n dim item"]) -> Float[Tensor, "n dim item"]:
    """Sorted along the last axis. On a processor by NumPy, which takes a quarter of the time of torch."""
    values = values.contiguous()
    if is_exporting():
        return values.sort(2, descending=True).values
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        order = torch.from_numpy(np.argsort(values.detach().neg().numpy(), axis=2))
        return values.gather(2, order)
    return values.sort(2, descending=True).values


def place_codes(places: int, dim: int) -> Float[Tensor, "{places} {dim}"]:
    """The sine and cosine of every place at frequencies from 1 down to nearly 1/10000, interleaved."""
    frequency = torch.exp(-math.log(10000) / dim * torch.arange(0, dim, 2, dtype=torch.float64))
    angles = torch.arange(places, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def make_pool(pool: PoolTable) -> nn.Module | None:
    """Build the pool of a setting ``pool``: a name, a table with a name and settings, or None."""
    if pool is None or isinstance(pool, nn.Module):
        return pool
    table = {"name": pool} if isinstance(pool, str) else pool
    made: nn.Module = registry.build("pool", table)
    return made


def pooled(items: EmbeddingSet, pool: nn.Module | None) -> EmbeddingSet:
    """Every set as a set of one vector; where in the picture it is, is no longer known."""
    if pool is None:
        return items
    one = pool(items.vectors, items.mask)[:, None]
    return EmbeddingSet(one, torch.ones(one.shape[:2], dtype=torch.bool, device=one.device))
