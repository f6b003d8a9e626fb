"""Whether Triton programs run here, and how one is started: tiles of packed members, and failures.

They run on a GPU of CUDA. Triton's interpreter runs them on a processor, slowly: for tests, which set
``ON_PROCESSOR`` and, before triton is imported, ``TRITON_INTERPRET=1``.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, wraps
from subprocess import CalledProcessError
from typing import Any, NamedTuple, ParamSpec, TypeVar

from jaxtyping import Integer

from wordsight.runtime.compiler import missing_for_programs
from wordsight.runtime.halving import free_cached, is_out_of_memory
from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum
from wordsight.tensors import Tensor, torch

LONGEST = 1024  # rows of a context, or of a query, in one tile
CONTEXTS = 16  # contexts of a tile at most
NUMBERS = 1 << 13  # products of a tile in float32: they stay in registers
SMALLEST = 16  # rows of a tile: less is no product of a tensor core
OLDEST = (8, 0)  # compute capability with bfloat16
POOLINGS: dict[type[Pooling], int] = {Mean: 0, Sum: 1, Max: 2, LogSumExp: 3, Softmax: 4}
ON_PROCESSOR = False  # whether the interpreter may run them
_disabled = ContextVar("disabled", default=False)
EVERY = "every program"
BROKEN = (
    RuntimeError,
    AssertionError,
    OSError,
    CalledProcessError,
)  # what Triton raises where nothing starts
_refused: set[tuple[torch.device, str]] = set()  # GPUs, and the programs that they did not take
_said: set[str] = set()
_log = logging.getLogger("wordsight.device")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Tiles(NamedTuple):
    """The members of each tile, from the first to before the last."""

    first: Integer[Tensor, " tile"]
    last: Integer[Tensor, " tile"]


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@contextmanager
def disabled() -> Iterator[None]:
    """Leave all to the blocks, to compare with them."""
    before = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(before)


def can_fuse(vectors: Tensor, contexts: Sequence[int], queries: Sequence[int] = (1,)) -> bool:
    """Whether the programs run for such vectors, of contexts and queries of these lengths (ascending)."""
    if (
        _disabled.get()
        or (vectors.device, EVERY) in _refused
        or vectors.dtype == torch.float64
        or not contexts
        or not queries
    ):
        return False
    if not (ON_PROCESSOR and interpreted()) and (
        vectors.device.type != "cuda" or not _is_usable(vectors.device.index or 0)
    ):
        return False
    tile = power_of_two(contexts[-1]) * max(SMALLEST, power_of_two(queries[-1]))
    if max(contexts[-1], queries[-1]) <= LONGEST and tile <= NUMBERS:
        return True
    _say_once(
        f"no fused program holds sets of {contexts[-1]} with sets of {queries[-1]} vectors "
        f"(their product, in powers of two, may be {NUMBERS}): the GPU scores in blocks, which is slower"
    )
    return False


def leaves_to_blocks(work: Callable[Arguments, Result]) -> Callable[Arguments, Result | None]:
    """Make the work return None where memory ends, so that blocks do it, in halves if need be."""

    @wraps(work)
    def attempted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
        try:
            return work(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        free_cached()
        _say_once("out of memory with all vectors at once: the GPU scores in blocks, which is slower")
        return None

    return attempted


def _say_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        _log.warning(message)


@cache
def _is_usable(number: int) -> bool:
    """Whether all that Triton needs is there, and it knows this GPU; says once why not."""
    if interpreted():
        return False
    missing = missing_for_programs()
    if missing is not None:
        _log.warning("%s: the GPU scores in blocks, which is slower", missing)
        return False
    if torch.cuda.get_device_capability(number) < OLDEST:
        _log.warning("the GPU is too old for the fused programs: it scores in blocks, which is slower")
        return False
    return True


def launch(program: Any, grid: tuple[int, ...], rows: Tensor, *arguments: Any, **sizes: Any) -> bool:
    """Start a program; False where the GPU cannot hold or compile it: blocks do its work from now on.

    A program that takes too much memory of its processors is tried with fewer stages, which load less ahead.
    """
    from triton.errors import TritonError
    from triton.runtime.errors import OutOfResources

    if (rows.device, program.__name__) in _refused:
        return False
    while True:
        try:
            with _current(rows.device):
                program[grid](*arguments, **sizes)
            return True
        except OutOfResources as error:
            if sizes.get("num_stages", 1) > 1:
                sizes["num_stages"] -= 1
                continue
            _refuse(rows.device, program.__name__, error)
        except TritonError as error:
            if interpreted():
                raise
            _refuse(rows.device, program.__name__, error)
        except BROKEN as error:
            if interpreted() or is_out_of_memory(error):
                raise
            _refuse(rows.device, EVERY, error)
        return False


def _refuse(device: torch.device, what: str, error: Exception) -> None:
    reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
    _log.warning("the GPU does not take %s (%s): it scores in blocks, which is slower", what, reason)
    _refused.add((device, what))


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Make it the current GPU, where Triton starts its programs."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def make_tiles(side: PackedTexts, most_rows: int, most_members: int, start: int, stop: int) -> Tiles:
    """Neighbours that fit into a tile together."""
    first, last = [], []
    for a, b in side.packed_pieces(most_rows, start, stop):
        for begin in range(a, b, most_members):
            first.append(begin)
            last.append(min(b, begin + most_members))
    return Tiles(*(torch.tensor(part, dtype=torch.int32, device=side.device) for part in (first, last)))


def make_starts(side: PackedTexts) -> Integer[Tensor, " start"]:
    return torch.tensor(side.starts, dtype=torch.int32, device=side.device)


def pool_temperature(pooling: Pooling) -> float:
    return float(getattr(pooling, "temperature", 1.0))


def pool_sizes(pooling: Pooling) -> dict[str, int]:
    """Constants that a pooling program is compiled for; the pooling is one of POOLINGS."""
    return {
        "POOL": POOLINGS[type(pooling)],
        "SCALED": bool(getattr(pooling, "scaled", True)),
        "CONTEXTS": CONTEXTS,
    }
