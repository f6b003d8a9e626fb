"""Whether a network is being written as ONNX in this thread, where some steps are said in other words.

torch.onnx knows it too, but loading it takes 0.15 s of every first search.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local

_thread = local()


def is_exporting() -> bool:
    """True inside ``exporting()``."""
    return getattr(_thread, "is_exporting", False)


@contextmanager
def exporting() -> Iterator[None]:
    """Inside the block networks say only what ONNX can."""
    _thread.is_exporting = True
    try:
        yield
    finally:
        _thread.is_exporting = False
