"""torch, or where it is not installed numpy under torch's names: what search, index and page compute with.

>>> from wordsight.tensors import F, Tensor, nn, torch

These rooms use few of torch's functions and no gradients. The modules of this folder give numpy arrays the
same names, so that one text of the search runs with and without torch. Everything that trains imports
torch itself. The environment variable WORDSIGHT_WITHOUT_TORCH=1 chooses numpy though torch is installed: it
loads in a tenth of the time.
"""

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

__all__ = ["IS_TORCH", "WITHOUT_TORCH", "F", "Tensor", "nn", "torch", "torch_is_installed"]
WITHOUT_TORCH = "WORDSIGHT_WITHOUT_TORCH"


def torch_is_installed() -> bool:
    """Whether torch can be imported; it is not loaded."""
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):
        return False


def _numpy_is_wanted() -> bool:
    wanted = os.environ.get(WITHOUT_TORCH, "") not in ("", "0")
    return (wanted and "torch" not in sys.modules) or not torch_is_installed()


if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    IS_TORCH = bool(torch)
else:
    IS_TORCH = not _numpy_is_wanted()
    if IS_TORCH:
        import torch
        from torch import Tensor, nn
        from torch.nn import functional as F
    else:
        from wordsight.tensors import functional as F
        from wordsight.tensors import functions as torch
        from wordsight.tensors import modules as nn
        from wordsight.tensors.array import Tensor
