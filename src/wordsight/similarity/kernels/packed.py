"""An embedding set -> its real items, of unit length, shortest members first, so that nothing pads."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, groupby

from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.runtime.device import has_float64
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.tensors import Tensor, torch

EPSILON = 1e-8  # added to a length before dividing by it, as the papers' code does
ROWS_AT_ONCE = 1024  # rows that are changed together, so that what it takes stays small


def unit(vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
    """Scale vectors to length 1, in float32 at least."""
    if vectors.dtype in (torch.bfloat16, torch.float16):
        vectors = vectors.float()
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (length + EPSILON)


def masked_unit(items: EmbeddingSet) -> Float[Tensor, "n item dim"]:
    """Whatever the padding holds, it must not reach a product: 0 x NaN is NaN."""
    vectors = items.vectors.masked_fill(~items.mask[..., None], 0)
    return vectors if isinstance(items, UnitSet) else unit(vectors)


def scale_to_unit(vectors: Float[Tensor, "*n dim"]) -> None:
    """Do in place, to vectors in float32, what ``unit`` returns."""
    vectors.div_(torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + EPSILON)


def unscaled(items: EmbeddingSet) -> UnitSet:
    """A set whose lengths count, marked as ready to be compared; in float32 at least. Differentiable."""
    if isinstance(items, UnitSet):
        return items
    half = items.vectors.dtype in (torch.bfloat16, torch.float16)
    return UnitSet(items.vectors.float() if half else items.vectors, items.mask, items.boxes)


def make_unit(vectors: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """Scale vectors to length 1 in place, without a gradient, by float64 lengths: two roundings each.

    A device without float64 takes float32 lengths; ranks are never certified there.
    """
    if vectors.dtype in (torch.bfloat16, torch.float16):
        vectors = vectors.float()
    wide = torch.float64 if has_float64(vectors.device) else torch.float32
    for some in torch.split(vectors, ROWS_AT_ONCE):  # a float64 copy of these, not of all
        length: Tensor = torch.linalg.vector_norm(some, dim=-1, keepdim=True, dtype=wide)
        some.div_((length + EPSILON).to(some))
    return vectors


def _before_unit(
    vectors: Float[Tensor, "row dim"], gradient: Float[Tensor, "row dim"]
) -> Float[Tensor, "row dim"]:
    """The gradient of v, given that of u = v / (|v| + e): (g - u (u.g) (|v| + e) / |v|) / (|v| + e)."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    along = (vectors * gradient).sum(-1, keepdim=True) / (length * (length + EPSILON))
    return torch.addcmul(gradient, vectors, torch.where(length > 0, along, 0), value=-1).div_(
        length + EPSILON
    )


class PackedTexts:
    """The members of a set, shortest first. ``kind`` (image, text) is for messages."""

    def __init__(self, items: EmbeddingSet, kind: str):
        lengths = items.lengths
        if len(items) and int(lengths.min()) == 0:
            empty = int(lengths.argmin())
            raise InputError(f"{kind} {empty} of {len(items)} is empty: its mask is False everywhere")
        self.items, self.kind = items, kind
        self.is_even = len(items) > 0 and int(lengths.min()) == items.mask.shape[1]  # nothing pads
        self.order = (
            torch.arange(len(items), device=items.device) if self.is_even else lengths.argsort(stable=True)
        )
        self.lengths: list[int] = lengths[self.order].tolist()
        self.starts: list[int] = [0, *accumulate(self.lengths)]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        return self.items.device

    def rows(self, start: int, stop: int) -> Float[Tensor, "row dim"]:
        """The items of these members, one after another, as they came."""
        if self.is_even:
            return self.items.vectors[start:stop].flatten(0, 1).clone()
        return self.rows_of(torch.arange(start, stop, device=self.device))

    def unit_rows(self, start: int, stop: int) -> Float[Tensor, "row dim"]:
        """Rows at unit length; autograd does not see it, ``add_gradient`` is its backward.

        Not to be changed: of a UnitSet they are the set's own.
        """
        with torch.no_grad():
            if not isinstance(self.items, UnitSet):
                return make_unit(self.rows(start, stop))
            return self.items.vectors[start:stop].flatten(0, 1) if self.is_even else self.rows(start, stop)

    def add_gradient(
        self, total: Float[Tensor, "n item dim"], start: int, stop: int, gradient: Float[Tensor, "row dim"]
    ) -> None:
        """From the gradient of ``unit_rows`` to that of the set's vectors, the same for a UnitSet."""
        for a, b in self.pieces(ROWS_AT_ONCE, start, stop):
            rows = slice(self.starts[a] - self.starts[start], self.starts[b] - self.starts[start])
            members = self.order[a:b]
            member, item = self.items.mask[members].nonzero(as_tuple=True)
            where = members[member], item
            own = gradient[rows]
            if not isinstance(self.items, UnitSet):
                own = _before_unit(self.items.vectors[where].to(gradient.dtype), own)
            total[where] += own.to(total.dtype)

    def rows_of(self, members: Int[Tensor, " member"]) -> Float[Tensor, "row dim"]:
        """The items of any members, one after another, as they came."""
        chosen = self.order[members]
        member, item = self.items.mask[chosen].nonzero(as_tuple=True)
        return self.items.vectors[chosen[member], item]

    def places_of(self, members: Int[Tensor, " member"]) -> Int[Tensor, " row"]:
        """Where the items of these members are among all rows."""
        starts, stops = self._starts[members], self._starts[members + 1]
        lengths = stops - starts
        own = torch.arange(int(lengths.sum()), device=members.device)
        return own + (stops - lengths.cumsum(0)).repeat_interleave(lengths)

    @cached_property
    def _starts(self) -> Int[Tensor, " start"]:
        return torch.tensor(self.starts, device=self.device)

    def pieces(
        self, most_rows: int, start: int = 0, stop: int | None = None, most: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Neighbours of at most so many rows together, padded to the longest; never fewer than one member.

        ``most`` is how many members a piece may have.
        """
        stop = len(self) if stop is None else stop
        while start < stop:
            end, last = start + 1, stop if most is None else min(stop, start + most)
            if self.is_even:
                end = max(end, min(last, start + int(most_rows) // self.lengths[0]))
            while end < last and (end + 1 - start) * self.lengths[end] <= most_rows:
                end += 1
            yield start, end
            start = end

    def packed_pieces(
        self, most_rows: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Neighbours of at most so many rows together, without padding; never fewer than one member."""
        stop = len(self) if stop is None else stop
        while start < stop:
            end = bisect_right(self.starts, self.starts[start] + most_rows, start + 2, stop + 1) - 1
            yield start, end
            start = end


def runs(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """How many neighbours share a length, and that length."""
    for length, group in groupby(lengths):
        yield len(list(group)), length


def stack_rows(
    lengths: Sequence[int], device: torch.device
) -> tuple[Int[Tensor, "n item"], Bool[Tensor, "n item"]]:
    """Where each member's items are among the rows; short members repeat their last item."""
    length = torch.tensor(lengths, device=device)[:, None]
    item = torch.arange(max(lengths), device=device)
    return (length.cumsum(0) - length) + torch.minimum(item, length - 1), item < length


def stacked(
    rows: Float[Tensor, "row dim"], lengths: Sequence[int]
) -> tuple[Float[Tensor, "n item dim"], Bool[Tensor, "n item"] | None]:
    """Rows -> members; a short one repeats its last item. The mask is None if all are of one length."""
    if lengths[0] == lengths[-1]:
        return rows.reshape(len(lengths), lengths[0], rows.shape[1]), None
    where, mask = stack_rows(lengths, rows.device)
    return rows[where], mask
