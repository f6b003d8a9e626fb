"""The folder onnx/ of a saved matcher: both encoders as ONNX, and export.json, which says what they read.

``text.onnx``       ids and mask of texts -> vectors and mask
``text.onnx.data``  the weights of a large one, which are mapped into memory
``image.onnx``      features, mask and boxes of regions, or pixels -> vectors and mask
``backbone.onnx``   the reader's network, where it is not an ONNX file already
``*.int8.onnx``     encoders with weights in 8 bits
``starts.npy``      of TIPSv2: which pieces of a text begin a word
``export.json``     inputs, the reader's table, largest differences from torch, fingerprint of the weights
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files import plain_json
from wordsight.files.contained import inside
from wordsight.files.model_folder import WEIGHTS

FOLDER = "onnx"
DESCRIPTION = "export.json"
FORMAT = 1
PRECISIONS = ("float32", "int8")
SIDES = ("text", "image")
AGAIN = "export the model again: wordsight export MODEL"
SAMPLES, SAMPLE_BYTES = 64, 4096  # of a file of weights: training changes all of it


@dataclass(frozen=True)
class WordsAlone:
    """How words are read as texts of their own (TIPSv2): behind a word stands ``pad_id``."""

    pad_id: int
    whole: bool  # whether a set begins with the vector of the whole text


@dataclass(frozen=True)
class Export:
    """Content of ``export.json``."""

    weights: str  # fingerprint of the weights that were exported
    dim: int  # numbers in a vector that the similarity compares
    inputs: Mapping[str, tuple[str, ...]]  # by side
    reader: Mapping[str, Any] | None  # its table, with paths below the matcher's folder
    no_pictures: str = ""  # why pictures cannot be read without torch
    differences: Mapping[str, float] = field(default_factory=dict)  # largest ones of scores, by precision
    words_alone: WordsAlone | None = None

    def file(self, home: Path, side: str, precision: str = "float32") -> Path:
        """The ONNX file of a side. Raises InputError for a precision that was not exported."""
        if precision not in self.differences:
            raise InputError(
                f"the export in {home / FOLDER} has no {precision} weights",
                f"wordsight export {home} --int8" if precision == "int8" else AGAIN,
            )
        return inside(home, f"{FOLDER}/{side}.int8.onnx" if precision == "int8" else f"{FOLDER}/{side}.onnx")


def has_export(home: Path) -> bool:
    """Whether a saved matcher has an ONNX export."""
    return (home / FOLDER / DESCRIPTION).is_file()


def read_export(home: Path) -> Export:
    """The export of a saved matcher. Raises MissingFileError without one, InputError for a stale one."""
    path = inside(home, f"{FOLDER}/{DESCRIPTION}")
    if not path.is_file():
        raise MissingFileError(
            f"{home} has no ONNX export, which a search without torch needs",
            f"where torch is installed: wordsight export {home}; or pip install 'wordsight[train]'",
        )
    table = plain_json.read(path, finite=True)
    if not isinstance(table, dict) or type(table.get("format")) is not int:
        raise InputError(f"{path} does not describe an export", AGAIN)
    if table["format"] > FORMAT:
        raise InputError(
            f"{path} has format {table['format']}, newer than {FORMAT}, the newest known here",
            "update wordsight",
        )
    try:
        export = _checked(table)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error})", AGAIN) from error
    if export.weights != fingerprint(home / WEIGHTS):
        raise InputError(f"{path} belongs to other weights than those in {home}", AGAIN)
    return export


def _checked(table: Mapping[str, Any]) -> Export:
    reader, words, given = table["reader"], table.get("words_alone"), table["inputs"]
    inputs = {side: tuple(map(str, given[side])) for side in SIDES if side == "text" or side in given}
    return Export(
        weights=str(table["weights"]),
        dim=int(table["dim"]),
        inputs=inputs,
        reader=None if reader is None else dict(reader),
        no_pictures=str(table.get("no_pictures", "")),
        differences={str(name): float(value) for name, value in table["differences"].items()},
        words_alone=None if words is None else WordsAlone(int(words["pad_id"]), bool(words["whole"])),
    )


def fingerprint(weights: Path) -> str:
    """Hash of the size of a file and of evenly spread parts of it: it reads little of a large one."""
    try:
        with weights.open("rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.blake2b(str(size).encode(), digest_size=16)
            step = max(SAMPLE_BYTES, size // SAMPLES)
            for start in [*range(0, size, step), max(0, size - SAMPLE_BYTES)]:
                file.seek(start)
                digest.update(file.read(SAMPLE_BYTES))
    except FileNotFoundError:
        raise MissingFileError(f"{weights} is missing", "copy the whole model folder again") from None
    return digest.hexdigest()
