"""A saved matcher -> the folder onnx/ beside its weights, checked against torch before it appears.

Crash-safe: the folder appears whole or not at all, and takes the place of an earlier one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wordsight import checkpoint, exported
from wordsight.encode.dual import BOTH
from wordsight.encode.dual_text import DualTextEncoder
from wordsight.encode.multi_vector import MultiVectorTextEncoder
from wordsight.errors import AlreadyExistsError, InputError
from wordsight.exported import FOLDER, FORMAT, Export, WordsAlone
from wordsight.exporters.onnx_backbone import export_reader
from wordsight.exporters.onnx_examples import image_examples, text_examples
from wordsight.exporters.onnx_graphs import Example, move_weights_to_sidecar, write_int8, write_side
from wordsight.files.atomic import atomic_folder, link_or_copy
from wordsight.matcher import Matcher
from wordsight.matcher.onnx_sides import OnnxSide
from wordsight.matcher.onnx_words import STARTS, text_side
from wordsight.sets import EmbeddingSet

MAX_DIFFERENCE = 1e-4  # of a score, as a share of the largest if that is above 1
MIN_INT8_COSINE = 0.9  # of a vector in 8 bits with the one of torch


@dataclass(frozen=True)
class ExportReport:
    """Facts about an export, for people."""

    folder: Path
    differences: dict[str, float]  # largest of a score, by precision
    no_pictures: str  # why pictures cannot be read without torch; empty if they can
    megabytes: float

    def to_text(self) -> str:
        lines = [
            f"{name}: scores differ from torch's by {value:.1e} at most"
            for name, value in self.differences.items()
        ]
        lines += [f"pictures are read by torch only: {self.no_pictures}"] if self.no_pictures else []
        return "\n".join([*lines, f"{self.megabytes:.1f} MB in {self.folder}"])


def export_onnx(
    home: Path,
    out: Path | None = None,
    int8: bool = False,
    trust_remote_code: bool = False,
    matcher: Matcher | None = None,
) -> ExportReport:
    """Export a saved matcher. ``out``: a folder for a copy of the model with the export.

    ``matcher``: that of the folder, where it is open already.

    Raises InputError for a part that ONNX cannot say, or whose scores differ; the folder is then as before.
    """
    if matcher is None:
        matcher = Matcher.from_pretrained(home, trust_remote_code=trust_remote_code)
    if isinstance(matcher.text_encoder, MultiVectorTextEncoder):
        raise InputError(
            f"both encoders of {home} share one language model (ColPali, ColQwen2), which is not exported",
            "search this model with torch",
        )
    if out is not None:
        _refuse_used(out)
    with torch.no_grad(), atomic_folder(home / FOLDER if out is None else out) as fresh:
        folder = fresh if out is None else _copied(home, fresh)
        export = _write(matcher, home, folder, int8)
        checkpoint.write_json(folder / exported.DESCRIPTION, {"format": FORMAT, **asdict(export)})
    written = (home if out is None else out) / FOLDER
    size = sum(path.stat().st_size for path in written.iterdir()) / 1e6
    return ExportReport(written, dict(export.differences), export.no_pictures, size)


def _refuse_used(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlreadyExistsError(f"{out} is there already", "choose another --out")


def _copied(home: Path, fresh: Path) -> Path:
    """A copy of the model without an earlier export; returns the folder of the new one."""
    for source in sorted(home.rglob("*")):
        place = source.relative_to(home)
        if source.is_file() and place.parts[0] != FOLDER and not place.name.startswith("."):
            (fresh / place).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source.resolve(), fresh / place)
    (fresh / FOLDER).mkdir()
    return fresh / FOLDER


def _write(matcher: Matcher, home: Path, folder: Path, int8: bool) -> Export:
    texts, images = text_examples(matcher), image_examples(matcher)
    text_encoder, words = _whole_texts(matcher.text_encoder, folder)
    inputs = {
        "text": write_side(text_encoder, texts[0], folder / "text.onnx"),
        "image": write_side(matcher.image_encoder, images[0], folder / "image.onnx"),
    }
    move_weights_to_sidecar(folder / "text.onnx")
    tables = checkpoint.read_config(home)["parts"]
    reader, no_pictures = export_reader(matcher.reader, tables["reader"], folder)
    dim = matcher.encode_texts(["a dog"]).dim
    opened = _Opened(folder, inputs, dim, words)
    differences = {"float32": _difference(matcher, opened, texts, images, "")}
    if differences["float32"] > MAX_DIFFERENCE:
        raise InputError(
            f"scores of the export differ from torch's by {differences['float32']:.1e}; the limit is "
            f"{MAX_DIFFERENCE:.0e}",
            "report it with the model's config.json; search this model with torch",
        )
    if int8:
        for side in exported.SIDES:
            write_int8(folder / f"{side}.onnx", folder / f"{side}.int8.onnx")
        differences["int8"] = _difference(matcher, opened, texts, images, ".int8")
    weights = exported.fingerprint(home / checkpoint.WEIGHTS)
    return Export(weights, dim, inputs, reader, no_pictures, differences, words)


def _whole_texts(encoder: Any, folder: Path) -> tuple[Any, WordsAlone | None]:
    """The encoder that is written, and how words pass through it where they are texts of their own."""
    if not isinstance(encoder, DualTextEncoder) or not encoder.reads_words_alone:
        return encoder, None
    if encoder.pool is not None or encoder.joint_layer is not None:
        raise InputError(
            "words that are read as texts of their own and then pooled cannot be written as ONNX",
            "import the model again with --regions whole",
        )
    np.save(folder / STARTS, encoder.starts.cpu().numpy())
    return encoder.for_whole_texts(), WordsAlone(encoder.options.pad_id, encoder.options.items == BOTH)


@dataclass(frozen=True)
class _Opened:
    """The files that were written, opened as a search opens them."""

    folder: Path
    inputs: dict[str, tuple[str, ...]]
    dim: int
    words: WordsAlone | None

    def side(self, side: str, suffix: str) -> Any:
        found = OnnxSide(self.folder / f"{side}{suffix}.onnx", self.inputs[side], self.dim)
        return text_side(found, self.words) if side == "text" else found


def _difference(
    matcher: Matcher,
    opened: _Opened,
    texts: Sequence[Example],
    images: Sequence[Example],
    suffix: str,
) -> float:
    """Largest difference of a score, as a share of the largest score if that is above 1."""
    sides = {side: opened.side(side, suffix) for side in exported.SIDES}
    largest = 0.0
    for some_texts, some_images in zip(texts, images, strict=True):
        right = _both(matcher.image_encoder, matcher.text_encoder, some_images, some_texts)
        found = _both(sides["image"], sides["text"], some_images, some_texts)
        if suffix:
            _check_cosines(right, found)
        scores, written = matcher.similarity(*right), matcher.similarity(*found)
        scale = max(1.0, float(scores.abs().max()))
        largest = max(largest, float((scores - written).abs().max()) / scale)
    return largest if largest == largest else float("inf")


def _both(
    image_encoder: Any, text_encoder: Any, images: Example, texts: Example
) -> tuple[EmbeddingSet, EmbeddingSet]:
    tensors: dict[str, Any] = dict(images.tensors)
    if "features" in tensors:
        tensors.setdefault("boxes", None)
    return image_encoder(images.kind(**tensors)), text_encoder(texts.kind(**texts.tensors))


def _check_cosines(right: Sequence[EmbeddingSet], found: Sequence[EmbeddingSet]) -> None:
    """Raises InputError where 8 bits turn a vector into another one."""
    for true, written in zip(right, found, strict=True):
        cosines = torch.cosine_similarity(true.vectors, written.vectors, dim=-1)[true.mask]
        if float(cosines.min()) < MIN_INT8_COSINE:
            raise InputError(
                f"8 bits change a vector of this model too much: its cosine with torch's is "
                f"{float(cosines.min()):.2f}, the limit is {MIN_INT8_COSINE}",
                "export it without --int8",
            )
