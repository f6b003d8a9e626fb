"""An ONNX file -> a session of onnxruntime that runs it; arrays in, arrays out."""

from pathlib import Path
from typing import Any

import numpy as np

from wordsight.errors import InputError, MissingPackageError
from wordsight.pretrained.models import MissingModel

ONNX = ".onnx"
CPU = "CPUExecutionProvider"


def open_session(path: Path, provider: str = CPU) -> Any:
    """An onnxruntime session on one thread, since pictures are read side by side."""
    if not path.is_file():
        raise MissingModel(f"there is no file {path}; give the path of an .onnx file, a folder or a hub name")
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackageError(f"{path.name} needs onnxruntime", "pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        again = provider != CPU  # with the CPU there is nothing else to fall back to but the same once more
        return onnxruntime.InferenceSession(
            str(path), options, providers=[provider], enable_fallback=int(again)
        )
    except Exception as error:  # onnxruntime's own classes, which differ between its versions
        raise InputError(f"{path} cannot be read as ONNX ({first_line(error)}); fetch it again") from error


def run_session(session: Any, values: np.ndarray, output: str | None = None) -> np.ndarray:
    """One output for a batch, by default the first; one by one where the file takes a single picture."""
    taken = session.get_inputs()[0]
    parts = [values[n : n + 1] for n in range(len(values))] if taken.shape[0] == 1 else [values]
    wanted = None if output is None else [output]
    given = ({taken.name: np.ascontiguousarray(part)} for part in parts)
    return np.concatenate([session.run(wanted, one)[0] for one in given])


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
