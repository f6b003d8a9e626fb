"""A limit on what new tensors hold together: a size that no memory holds is an error and not a crash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wordsight.errors import InputError

FREE = 1 << 27  # numbers that every budget has: half a gigabyte in float32


def memory_in_numbers() -> int | None:
    """How many float32 numbers the memory of this machine holds; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, OSError, ValueError):
        return None


class TensorBudget:
    """The numbers that new tensors may hold, and ``FREE`` more; ``limit`` names in an error what sets it."""

    def __init__(self, numbers: int, limit: str) -> None:
        self.left, self.limit = numbers + FREE, limit

    def take(self, count: int, what: str) -> None:
        """Raises InputError if so many numbers are not left."""
        self.left -= count
        if self.left < 0:
            raise InputError(
                f"{what} asks for {count:,} numbers, which take {4 * count / 2**30:,.1f} GB: "
                f"more than {self.limit}",
                "check its sizes",
            )

    @contextmanager
    def spent_by(self, what: str) -> Iterator[None]:
        """Inside the block, whatever makes a new tensor is counted before it takes any memory.

        A tensor of the device "meta" holds nothing and does not count; it tells the size of the others.
        """
        import torch
        from torch.overrides import TorchFunctionMode

        makes = {
            torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.arange, torch.linspace,
            torch.rand, torch.randn, torch.randint,
            torch.empty_like, torch.zeros_like, torch.ones_like, torch.full_like,
        }  # fmt: skip
        budget = self

        class Counted(TorchFunctionMode):
            def __torch_function__(
                self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                given = kwargs or {}
                if function in makes and str(given.get("device")) != "meta" and "out" not in given:
                    shape = {
                        key: value for key, value in given.items() if key not in ("generator", "pin_memory")
                    }
                    budget.take(function(*args, **shape | {"device": "meta"}).numel(), what)
                return function(*args, **given)

        with Counted():
            yield
