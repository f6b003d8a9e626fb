"""Inputs and weights of the golden numbers."""

import torch


def sine(*shape: int, shift: float = 0.0) -> torch.Tensor:
    """The deterministic input of the golden numbers: sin(0.7 (i+1)(j+2) + 0.3 (k+1)^2 + shift), float64."""
    i, j, k = (torch.arange(size, dtype=torch.float64) for size in shape)
    return torch.sin(0.7 * (i[:, None, None] + 1) * (j[None, :, None] + 2) + 0.3 * (k + 1) ** 2 + shift)


def fill(module: torch.nn.Module) -> None:
    """The golden numbers' weights: parameter n holds 0.3 sin(0.5 index + 0.1 (n + 1))."""
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            index = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((0.3 * torch.sin(0.5 * index + 0.1 * (n + 1))).reshape(parameter.shape))
