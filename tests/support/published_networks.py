"""Small convolutional networks under the names of PyTorch code, and what they compute, written plainly."""

import torch
from support.published_checkpoints import State
from torch import Tensor
from torch.nn import functional as F


def norm_state(channels: int, start: str) -> State:
    return {
        f"{start}weight": 1 + 0.1 * torch.randn(channels), f"{start}bias": 0.1 * torch.randn(channels),
        f"{start}running_mean": 0.1 * torch.randn(channels), f"{start}running_var": 1 + torch.rand(channels),
        f"{start}num_batches_tracked": torch.tensor(7),
    }  # fmt: skip


def kernel(outputs: int, inputs: int, side: int) -> Tensor:
    return torch.randn(outputs, inputs, side, side) * (2 / (inputs * side * side)) ** 0.5


def norm(x: Tensor, state: State, start: str) -> Tensor:
    """A batch norm in evaluation mode."""
    scale = state[f"{start}weight"] / (state[f"{start}running_var"] + 1e-5).sqrt()
    shift = state[f"{start}bias"] - state[f"{start}running_mean"] * scale
    return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def resnet_state(depths: tuple[int, ...], width: int = 4, bottleneck: bool = True) -> State:
    """torchvision's names; the widths of its ResNets divided by 64 / width."""
    state = {"conv1.weight": kernel(width, 3, 7), **norm_state(width, "bn1.")}
    inputs = width
    for stage, depth in enumerate(depths):
        inner = width * 2**stage
        outputs = 4 * inner if bottleneck else inner
        for block in range(depth):
            start = f"layer{stage + 1}.{block}."
            narrow = [(inner, inputs, 1), (inner, inner, 3), (outputs, inner, 1)]
            shapes = narrow if bottleneck else [(inner, inputs, 3), (inner, inner, 3)]
            for place, shape in enumerate(shapes, 1):
                state[f"{start}conv{place}.weight"] = kernel(*shape)
                state |= norm_state(shape[0], f"{start}bn{place}.")
            if inputs != outputs:
                state[f"{start}downsample.0.weight"] = kernel(outputs, inputs, 1)
                state |= norm_state(outputs, f"{start}downsample.1.")
            inputs = outputs
    return state


def resnet(x: Tensor, state: State, depths: tuple[int, ...]) -> Tensor:
    """The mean of its last cells."""
    return resnet_cells(x, state, depths).mean((2, 3))


def resnet_cells(x: Tensor, state: State, depths: tuple[int, ...], caffe: bool = False) -> Tensor:
    """torchvision's has a stage's stride on its first 3 x 3 convolution, Caffe's on the 1 x 1 before it."""
    x = norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), state, "bn1.").relu()
    x = F.max_pool2d(x, 3, 2, 0, ceil_mode=True) if caffe else F.max_pool2d(x, 3, 2, 1)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            x = _block(x, state, f"layer{stage + 1}.{block}.", 2 if stage and not block else 1, caffe)
    return x


def _block(x: Tensor, state: State, start: str, stride: int, caffe: bool) -> Tensor:
    inner, left = x, stride
    for place in (1, 2, 3):
        weight = state.get(f"{start}conv{place}.weight")
        if weight is not None:
            inner = inner.relu() if place > 1 else inner
            wide = weight.shape[-1] == 3
            here = left if wide or caffe else 1
            inner = F.conv2d(inner, weight, stride=here, padding=int(wide))
            inner = norm(inner, state, f"{start}bn{place}.")
            left //= here
    return (_shortcut(x, state, start, stride) + inner).relu()


def _shortcut(x: Tensor, state: State, start: str, stride: int) -> Tensor:
    if f"{start}downsample.0.weight" not in state:
        return x
    return norm(
        F.conv2d(x, state[f"{start}downsample.0.weight"], stride=stride), state, f"{start}downsample.1."
    )
