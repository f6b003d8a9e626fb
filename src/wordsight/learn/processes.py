"""Batches of several processes -> one batch: embeddings are gathered with their gradients (torchrun).

Each process encodes its share of the batch, gathers everyone's embeddings, and computes the loss of the
whole batch. The gradients are averaged, which makes them equal to those of one process that holds the
whole batch: a gathered embedding collects the gradients of all processes, each of which has computed the
same loss. BatchNorm is the exception: it normalizes over each process's own share.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from wordsight.matcher import Matcher
from wordsight.pairs import EncodedPairs, PairBatch
from wordsight.sets import EmbeddingSet

PATIENCE = timedelta(days=1)  # the first process may validate for long while the others wait


@dataclass(frozen=True)
class Processes:
    """The rank of this process among all, and the exchange between them."""

    rank: int = 0  # among all, from 0
    world: int = 1
    local_rank: int = 0  # among those on this machine: the number of its GPU

    @classmethod
    def join(cls, device: torch.device | None = None) -> "Processes":
        """Meet the other processes that torchrun started, by NCCL on GPUs; alone without torchrun."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        if not distributed.is_initialized():
            if device is not None and device.type == "cuda":
                torch.cuda.set_device(device)  # what NCCL exchanges passes through the current device
            distributed.init_process_group(backend_for(device), timeout=PATIENCE)
        return cls(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))

    @property
    def first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def share(self, rows: Sequence[int]) -> Sequence[int]:
        """This process's part of a batch: consecutive, so that the gathered batch is in order."""
        cut = [len(rows) * part // self.world for part in (self.rank, self.rank + 1)]
        return rows[cut[0] : cut[1]]

    def encode(self, matcher: Matcher, batch: PairBatch) -> EncodedPairs:
        """Encode this process's share and compare the images of all processes with the texts of all."""
        if self.world == 1:
            pairs: EncodedPairs = matcher(batch)
            return pairs
        encoded = matcher.encode_images(batch.images)
        images = self._gather_set(encoded if batch.image_of is None else encoded[batch.image_of])
        texts = self._gather_set(matcher.encode_texts(batch.texts))
        negatives = None
        if batch.negative_texts is not None:
            negatives = self._gather_set(matcher.encode_texts(batch.negative_texts))
        labels = None if batch.labels is None else self._gather(batch.labels)
        identities = self._gather(batch.identities)
        return matcher.compare(images, texts, identities, labels, negatives=negatives)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean over the processes, for every weight that has a gradient in any of them."""
        if self.world == 1:
            return
        for parameter in _with_gradient(list(parameters)):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= self.world

    def same_everywhere(self, *modules: nn.Module) -> None:
        """Weights and buffers of the first process, in all of them."""
        if self.world > 1:
            for module in modules:
                for tensor in module.state_dict().values():
                    distributed.broadcast(tensor, src=0)

    def tell(self, value: Any) -> Any:
        """Broadcast a value of the first process to all."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _gather_set(self, share: EmbeddingSet) -> EmbeddingSet:
        """Everyone's rows under one another; the item axis is padded to the longest (mask False there)."""
        widest = torch.tensor(share.mask.shape[1], device=share.device)
        distributed.all_reduce(widest, op=distributed.ReduceOp.MAX)
        more = int(widest) - share.mask.shape[1]
        boxes = None if share.boxes is None else self._gather(F.pad(share.boxes, (0, 0, 0, more)))
        mask = self._gather(F.pad(share.mask, (0, more)).to(torch.uint8)).bool()
        return EmbeddingSet(self._gather(F.pad(share.vectors, (0, 0, 0, more))), mask, boxes)

    def _gather(self, share: Tensor) -> Tensor:
        gathered: Tensor = _Gather.apply(share, self.rank, self.world)  # type: ignore[no-untyped-call]
        return gathered


def backend_for(device: torch.device | None) -> str:
    """The library that exchanges tensors of a device."""
    return "nccl" if device is not None and device.type == "cuda" else "gloo"


class _Gather(torch.autograd.Function):
    """Rows of all processes under one another; backward, each row collects the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, rank: int, world: int) -> Tensor:
        counts = [torch.zeros(1, dtype=torch.long, device=share.device) for _ in range(world)]
        distributed.all_gather(counts, torch.tensor([len(share)], device=share.device))
        lengths = [int(count) for count in counts]
        padded = share.new_zeros(max(lengths), *share.shape[1:])
        padded[: len(share)] = share.detach()
        shares = [torch.empty_like(padded) for _ in range(world)]
        distributed.all_gather(shares, padded)
        ctx.start, ctx.stop = sum(lengths[:rank]), sum(lengths[: rank + 1])
        return torch.cat([rows[:length] for rows, length in zip(shares, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        everyone = gradient.contiguous().clone()
        distributed.all_reduce(everyone)
        return everyone[ctx.start : ctx.stop], None, None


def _with_gradient(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Weights that have a gradient in at least one process: all must agree on what is exchanged."""
    if not parameters:
        return []
    device = parameters[0].device
    has = torch.tensor([int(parameter.grad is not None) for parameter in parameters], device=device)
    distributed.all_reduce(has, op=distributed.ReduceOp.MAX)
    return [parameter for parameter, one in zip(parameters, has.tolist(), strict=True) if one]
