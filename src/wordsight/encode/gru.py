"""Word vectors of texts -> the states of a GRU that reads them both ways: torch's, written for a processor.

torch's own backward pass on a processor visits dozens of tiny nodes for every word place and direction, which
takes longer than the arithmetic. Here both directions are one batch, each word place is a handful of
products, and the gradients of the weights are one product over all words. The formula is torch's:

    r, z = sigmoid(W_i x + b_i + W_h h + b_h);  n = tanh(W_in x + b_in + r (W_hn h + b_hn))
    h = (1 - z) n + z h
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeGuard

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def can_read(reader: nn.GRU | nn.LSTM, device: torch.device) -> TypeGuard[nn.GRU]:
    """One layer both ways, on a processor, in full precision; anything else is torch's."""
    if not isinstance(reader, nn.GRU) or device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    return reader.num_layers == 1 and reader.bidirectional and reader.bias


def read_both_ways(
    words: Float[Tensor, "text word word_dim"], lengths: Int[Tensor, " text"], reader: nn.GRU
) -> Float[Tensor, "text word two_units"]:
    """The states forwards and backwards, one after the other; zeros at padding. The first states are zero."""
    packing = Packing.of(lengths, words.shape[1])
    rows = words.flatten(0, 1)[packing.places]  # [2 row word_dim]
    input_weight, state_weight, input_bias, state_bias = (
        torch.stack([getattr(reader, f"{name}_l0"), getattr(reader, f"{name}_l0_reverse")])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    given = torch.baddbmm(input_bias[:, None], rows, input_weight.transpose(1, 2))
    states = _States.apply(given, state_weight, state_bias, packing.counts)  # type: ignore[no-untyped-call]
    return torch.cat([packing.unpacked(states[way], way, *words.shape[:2]) for way in (0, 1)], 2)


class Packing(NamedTuple):
    """All words, those that are read first first; longer texts before shorter ones."""

    places: Int[Tensor, "way row"]  # of each word among the padded ones: read forwards, read backwards
    counts: list[int]  # how many texts have a first word, a second word, ...

    @classmethod
    def of(cls, lengths: Int[Tensor, " text"], width: int) -> "Packing":
        order = lengths.argsort(descending=True, stable=True)
        longest = lengths[order]
        step = torch.arange(width)[:, None]
        there = step < longest  # [word text]
        forwards = (order * width + step)[there]
        backwards = (order * width + longest - 1 - step)[there]
        counts: list[int] = there.sum(1).tolist()
        return cls(torch.stack([forwards, backwards]), [count for count in counts if count])

    def unpacked(
        self, rows: Float[Tensor, "row unit"], way: int, texts: int, width: int
    ) -> Float[Tensor, "text word unit"]:
        flat = rows.new_zeros(texts * width, rows.shape[1])
        return flat.index_copy(0, self.places[way], rows).view(texts, width, -1)


def _steps(counts: list[int]) -> Iterator[tuple[slice, slice, int]]:
    """The rows of each word place, those of the same texts at the place before, and how many they are."""
    start, before = 0, 0
    for count in counts:
        yield slice(start, start + count), slice(before, before + count), count
        start, before = start + count, start


class _States(torch.autograd.Function):
    """What the input gives each gate -> the states; the backward pass is written out."""

    @staticmethod
    def forward(
        ctx: Any,
        given: Float[Tensor, "way row three_units"],
        weight: Float[Tensor, "way three_units unit"],
        bias: Float[Tensor, "way three_units"],
        counts: list[int],
    ) -> Float[Tensor, "way row unit"]:
        unit = weight.shape[2]
        gates = torch.empty_like(given)  # r, z, n
        candidate = given.new_empty(*given.shape[:2], unit)  # W_hn h + b_hn
        states = torch.empty_like(candidate)
        turned, bias = weight.transpose(1, 2), bias[:, None]
        for rows, before, count in _steps(counts):
            if rows.start == 0:
                old = states.new_zeros(2, count, unit)
                heard = bias.expand(-1, count, -1)
            else:
                old = states[:, before]
                heard = torch.baddbmm(bias, old, turned)
            reset_update = (given[:, rows, : 2 * unit] + heard[..., : 2 * unit]).sigmoid_()
            reset, update = reset_update.chunk(2, 2)
            new = torch.addcmul(given[:, rows, 2 * unit :], reset, heard[..., 2 * unit :]).tanh_()
            states[:, rows] = torch.lerp(new, old, update)
            gates[:, rows, : 2 * unit], gates[:, rows, 2 * unit :] = reset_update, new
            candidate[:, rows] = heard[..., 2 * unit :]
        ctx.save_for_backward(weight, gates, candidate, states)
        ctx.counts = counts
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "way row unit"]) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, gates, candidate, states = ctx.saved_tensors
        old = _before(states, ctx.counts)
        reset, update, new = gates.chunk(3, 2)
        # What a state's gradient is multiplied by on its way to each gate, for all words at once.
        to_new = (1 - update) * (1 - new * new)
        to_update = (old - new) * update * (1 - update)
        to_reset = to_new * candidate * reset * (1 - reset)
        factors = torch.stack([to_reset, to_update, to_new * reset], 2)  # [way row gate unit]
        heard = torch.empty_like(factors)
        arriving = gradient.clone()
        for rows, before, _ in reversed(list(_steps(ctx.counts))):
            torch.mul(factors[:, rows], arriving[:, rows, None], out=heard[:, rows])
            if rows.start:
                back = torch.bmm(heard[:, rows].flatten(2), weight)
                arriving[:, before] += back.addcmul_(arriving[:, rows], update[:, rows])
        given = heard.clone()
        torch.mul(to_new, arriving, out=given[:, :, 2])
        flat = heard.flatten(2)
        return given.flatten(2), torch.bmm(flat.transpose(1, 2), old), flat.sum(1), None


def _before(states: Float[Tensor, "way row unit"], counts: list[int]) -> Float[Tensor, "way row unit"]:
    """The state that each word found; zero for the first."""
    found = torch.zeros_like(states)
    for rows, before, _ in _steps(counts):
        if rows.start:
            found[:, rows] = states[:, before]
    return found
