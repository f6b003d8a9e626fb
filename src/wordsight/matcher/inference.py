"""Evaluation mode without gradients, for a block of code."""

from collections.abc import Iterator
from contextlib import contextmanager

from wordsight.tensors import nn, torch


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """No gradients and evaluation mode; afterwards every part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(modes[0][1])  # also what was built meanwhile
        for part, training in modes:
            part.training = training
