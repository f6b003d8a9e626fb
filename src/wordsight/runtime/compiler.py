"""Whether this machine can compile programs for a GPU -> nothing, or what is missing, in one clause.

Triton compiles a small library in C on each machine before it starts its first program; ``torch.compile``
on a GPU goes through Triton.
"""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COMPILERS = ("gcc", "clang")
CXX_COMPILERS = ("g++", "clang++", "cl")


def missing_for_programs() -> str | None:
    """Why Triton cannot start a program here; None if nothing that it needs is missing."""
    if find_spec("triton") is None:
        return "triton is not installed (pip install triton)"
    if not sys.platform.startswith("linux"):
        return None  # builds of Triton for other systems bring a compiler along
    named = os.environ.get("CC")
    if named is not None and shutil.which(named) is None:
        return f"the C compiler {named}, which the environment variable CC names, is not there"
    if named is None and not any(map(shutil.which, COMPILERS)):
        return "no C compiler is installed, and Triton needs one (install gcc, or name one by CC)"
    if not _headers().is_file():
        return f"Python's headers are not installed, and Triton needs {_headers()} (package python3-dev)"
    return None


def missing_for_compiling(device: "torch.device") -> str | None:
    """Why ``torch.compile`` cannot translate modules on a device; None if nothing is missing."""
    if device.type == "cuda":
        return missing_for_programs()
    named = os.environ.get("CXX")
    compilers = CXX_COMPILERS if named is None else (named,)
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        return f"torch.compile needs a C++ compiler here, and {' or '.join(compilers)} is not installed"
    return None


def _headers() -> Path:
    """Python's own header, where Triton looks for it."""
    scheme = sysconfig.get_default_scheme()
    scheme = "posix_prefix" if scheme == "posix_local" else scheme  # as Triton does on Debian
    return Path(sysconfig.get_paths(scheme=scheme)["include"]) / "Python.h"
