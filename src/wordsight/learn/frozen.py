"""Weights and an epoch -> which of them learn in it: training in two stages, and staged unfreezing."""

from collections.abc import Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wordsight.errors import InputError
from wordsight.learn.names import longest_start, refuse_unknown


class Frozen:
    """``epochs`` says, by the start of their names, for how many epochs weights stay as they are.

    The longest start wins: {"image_encoder.backbone": 3, "image_encoder.backbone.encoder.stages.3": 1} sets
    the last stage of a CNN free first. Batch norms of a frozen part neither learn nor count batches: they are
    in evaluation mode. The optimizer meets a weight's first gradient when it is set free.
    """

    def __init__(self, modules: Mapping[str, nn.Module], epochs: Mapping[str, int]) -> None:
        """``modules`` by the start of their weights' names: the matcher's is "", the loss's "loss"."""
        named = {
            f"{start}.{name}".strip("."): weight
            for start, module in modules.items()
            for name, weight in module.named_parameters()
        }
        refuse_unknown("frozen_epochs", epochs, named)
        self.epochs = epochs
        self.weights = {name: weight for name, weight in named.items() if weight.requires_grad}
        self.norms = {
            f"{start}.{name}".strip("."): norm
            for start, module in modules.items()
            for name, norm in module.named_modules()
            if isinstance(norm, _BatchNorm)
        }

    def begin(self, epoch: int) -> None:
        """Freeze what stays in this epoch (from 0) and set the rest free; modules are in training mode."""
        for name, weight in self.weights.items():
            weight.requires_grad_(not self._stays(name, epoch))
        for name, norm in self.norms.items():
            if self._stays(name, epoch):
                norm.eval()
        if not any(weight.requires_grad for weight in self.weights.values()):
            raise InputError(
                f"there is nothing to train in epoch {epoch + 1}: every weight is frozen; "
                "see [training] frozen_epochs"
            )

    def _stays(self, name: str, epoch: int) -> bool:
        return epoch < self.epochs.get(longest_start(name, self.epochs), 0)
