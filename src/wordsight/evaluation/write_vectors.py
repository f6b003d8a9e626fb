"""A matcher and its pairs -> vectors of images and texts as .npy files, named as in CMPL's test."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wordsight.evaluation.encode import batches, encode_rows
from wordsight.files.atomic import atomic_file
from wordsight.files.undecodable import exact_bytes
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet
from wordsight.runtime.progress import Progress, silent
from wordsight.sets import EmbeddingSet

HEADER = 128  # bytes; numpy's header of a float array of up to three axes takes them all
Written = tuple[Path, tuple[int, ...]]  # a file and the shape of its array


def write_vectors(
    matcher: Matcher,
    pairs: PairSet,
    folder: Path,
    split: str,
    batch_size: int = 64,
    progress: Progress = silent,
) -> list[Written]:
    """Write ``{split}_image_features.npy`` and ``{split}_caption_features.npy`` in float32, and their labels.

    The vectors are those of the encoders, not normalized: [image dim] where each has one; [image item dim]
    where all have equally many; else [all items, dim] one after another, with ``_lengths.npy``.
    Equal numbers in ``{split}_image_labels.npy`` and ``{split}_caption_labels.npy`` belong together;
    ``{split}_image_names.txt`` and ``{split}_captions.txt`` have a line for each.
    """
    texts = [" ".join(text.split()) for text in pairs.texts]
    with inference(matcher):
        written = [
            *_write(folder, f"{split}_image", _images(matcher, pairs, batch_size, progress)),
            *_write(folder, f"{split}_caption", _texts(matcher, pairs, batch_size, progress)),
        ]
    labels = {"image": pairs.identities, "caption": pairs.text_identities}
    for what, numbers in labels.items():
        path = folder / f"{split}_{what}_labels.npy"
        with atomic_file(path) as file:
            np.save(file, numbers.numpy())
        written.append((path, tuple(numbers.shape)))
    for name, lines in (("image_names", pairs.names), ("captions", texts)):
        with atomic_file(folder / f"{split}_{name}.txt") as file:
            file.write(exact_bytes("".join(f"{line}\n" for line in lines)))
    return written


def _images(matcher: Matcher, pairs: PairSet, batch_size: int, progress: Progress) -> Iterator[EmbeddingSet]:
    for rows in batches(len(pairs.images), batch_size):
        yield encode_rows(matcher, pairs, rows)
        progress("images", rows.stop, len(pairs.images))


def _texts(matcher: Matcher, pairs: PairSet, batch_size: int, progress: Progress) -> Iterator[EmbeddingSet]:
    for rows in batches(len(pairs.texts), batch_size):
        yield matcher.encode_texts([pairs.texts[row] for row in rows])
        progress("texts", rows.stop, len(pairs.texts))


def _write(folder: Path, name: str, sets: Iterator[EmbeddingSet]) -> list[Written]:
    """One batch after another; how many vectors there are is known, and written, at the end."""
    path, lengths, dim = folder / f"{name}_features.npy", list[int](), 0
    with atomic_file(path) as file:
        file.write(bytes(HEADER))
        for found in sets:
            lengths += found.lengths.tolist()
            dim = found.dim
            file.write(found.vectors[found.mask].float().cpu().numpy().astype("<f4").tobytes())
        shape = _shape(lengths, dim)
        _write_header(file, shape)
    if len(set(lengths)) <= 1:
        return [(path, shape)]
    lengths_path = folder / f"{name}_lengths.npy"
    with atomic_file(lengths_path) as file:
        np.save(file, np.array(lengths))
    return [(path, shape), (lengths_path, (len(lengths),))]


def _shape(lengths: Sequence[int], dim: int) -> tuple[int, ...]:
    if len(set(lengths)) > 1:
        return (sum(lengths), dim)
    each = lengths[0] if lengths else 1
    return (len(lengths), dim) if each == 1 else (len(lengths), each, dim)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    assert len(header.getvalue()) == HEADER
    file.seek(0)
    file.write(header.getvalue())
