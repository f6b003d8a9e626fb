"""Texts -> hidden states of a frozen network, computed once per text and stored while a model is trained."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.sets import Tokens

STORED = torch.bfloat16  # half the memory; dropout changes the states more than this rounding
BYTES_PER_MB = 2**20
TOGETHER = 32  # texts of about one length are computed together: little padding passes through the network


class StateCache:
    """Hidden states by token ids, at most ``megabytes`` of them; texts beyond that are computed each time."""

    def __init__(self, megabytes: float) -> None:
        self.free = int(megabytes * BYTES_PER_MB)
        self._stored: dict[tuple[int, ...], Tensor] = {}

    def __len__(self) -> int:
        """The number of texts stored."""
        return len(self._stored)

    def read(
        self, texts: Tokens, compute: Callable[[Tokens], Float[Tensor, "text word hidden"]]
    ) -> Float[Tensor, "text word hidden"]:
        """The states of each text, zeros at padding; ``compute`` gets the texts that are not stored."""
        keys = [tuple(ids[mask].tolist()) for ids, mask in zip(texts.ids, texts.mask, strict=True)]
        missing = [row for row, key in enumerate(keys) if key not in self._stored]
        missing.sort(key=lambda row: len(keys[row]))
        found: dict[tuple[int, ...], Tensor] = {}
        for start in range(0, len(missing), TOGETHER):
            rows = missing[start : start + TOGETHER]
            for row, states in zip(rows, compute(_trimmed(texts[rows])).to(STORED), strict=True):
                found[keys[row]] = states[texts.mask[row, : states.shape[0]]]
        parts = [found[key] if key in found else self._stored[key] for key in keys]
        self._store(found)
        states = parts[0].new_zeros(*texts.mask.shape, parts[0].shape[-1])
        states[texts.mask] = torch.cat(parts)
        return states.float()

    def _store(self, found: dict[tuple[int, ...], Tensor]) -> None:
        for key, states in found.items():
            size = states.numel() * states.element_size()
            if size <= self.free:
                self._stored[key] = states
                self.free -= size


def _trimmed(texts: Tokens) -> Tokens:
    """Without the columns in which every text is padding."""
    width = int(texts.mask.any(0).nonzero().max()) + 1
    return Tokens(texts.ids[:, :width], texts.mask[:, :width])
