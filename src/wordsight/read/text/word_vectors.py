"""A file of pretrained word vectors in (GloVe, fastText), the starting word table of a vocabulary out."""

import gzip
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from wordsight.errors import InputError, MissingFileError
from wordsight.read.text.vocabulary import MASK, SPECIALS, Vocabulary
from wordsight.tensors import Tensor, torch


@dataclass(frozen=True, eq=False)
class VectorReport:
    """The words of the vocabulary that the file knows."""

    known: Bool[Tensor, " word"]  # True where the row is the file's
    found: tuple[str, ...]
    missing: tuple[str, ...]  # by id; the specials, which no file is expected to know, are left out

    def __str__(self) -> str:
        total = len(self.found) + len(self.missing)
        some = f", such as {', '.join(self.missing[:5])}" if self.missing else ""
        return f"{len(self.found)} of {total} words found ({len(self.missing)} missing{some})"


def load_vectors(
    path: str | Path,
    vocabulary: Vocabulary,
    dim: int | None = None,
    seed: int = 0,
    missing_scale: float | None = None,
) -> tuple[Float[Tensor, "word dim"], VectorReport]:
    """The file's vectors of the vocabulary's words, row by row, and random ones for the rest.

    Reads the text format of GloVe and fastText (a header line or none, gzip or not) line by line, so that
    files larger than memory will do, and JSON ``{word: [numbers]}``. A word that the file lacks is looked up
    once more without ``- . '`` and without what follows a ``/`` (CHAN).

    ``dim``             what the file must have; None takes it as it is
    ``missing_scale``   standard deviation of the rows still missing; None: that of the found ones. CHAN has
                        1, several times louder than GloVe

    Raises ValueError, naming the line, for a file of another format or size.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingFileError(
            f"there is no file {path}; download GloVe or fastText vectors and give their path"
        )
    wanted = {spelling.encode() for word in vocabulary.entries for spelling in (word, _simplified(word))}
    vectors = _read(path, dim, wanted)
    rows = [
        vectors.get(word.encode(), vectors.get(_simplified(word).encode())) for word in vocabulary.entries
    ]
    known = torch.tensor([row is not None for row in rows])
    if not known.any():
        raise InputError(
            f"{path} knows none of the {len(vocabulary)} words; is it of another language or capitalized?"
        )
    table = torch.from_numpy(np.stack([row for row in rows if row is not None]))
    return _filled(table, known, seed, missing_scale), _report(vocabulary, known)


def _simplified(word: str) -> str:
    return re.sub("[-.']", "", word).split("/")[0] or word


def _filled(
    found: Float[Tensor, "found dim"], known: Bool[Tensor, " word"], seed: int, scale: float | None
) -> Float[Tensor, "word dim"]:
    """Random rows, as wide as the found ones unless a scale is given, with the found ones in their places."""
    scale = float(found.std(correction=0)) if scale is None else scale
    chance = torch.Generator().manual_seed(seed)
    table = torch.randn(len(known), found.shape[1], generator=chance) * scale
    table[known] = found
    return table


def _report(vocabulary: Vocabulary, known: Bool[Tensor, " word"]) -> VectorReport:
    words = [(word, bool(is_known)) for word, is_known in zip(vocabulary.entries, known, strict=True)]
    found = tuple(word for word, is_known in words if is_known)
    missing = tuple(word for word, is_known in words if not is_known and word not in (*SPECIALS, MASK))
    return VectorReport(known, found, missing)


def _read(path: Path, dim: int | None, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
    """The vectors of the wanted words; of a word that occurs twice, the first."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    read = _read_json if path.name.removesuffix(".gz").endswith(".json") else _read_text
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            return read(file, dim, wanted)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged ({error}); fetch it again") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _read_json(file: BufferedIOBase, dim: int | None, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
    try:
        content = json.load(file)
    except (ValueError, RecursionError) as error:  # no JSON, or no text at all
        raise InputError(f"not JSON, or cut short ({error})") from None
    if not isinstance(content, dict) or not content or not isinstance(next(iter(content.values())), list):
        raise InputError("expected JSON of the form {word: [numbers]}")
    width = _checked_width(len(next(iter(content.values()))), dim)
    return {
        word.encode(): _vector(numbers, width, f'the vector of "{word}"')
        for word, numbers in content.items()
        if word.encode() in wanted
    }


def _read_text(file: BufferedIOBase, dim: int | None, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
    """Lines of a word and its numbers; fastText's first line says how many and how wide."""
    opening = list(islice(file, 2))
    if (
        not b"".join(opening).strip()
        or opening[0].startswith(b"PK")
        or any(b"\0" in line for line in opening)
    ):
        raise InputError(
            "not text with a word and its numbers on each line; "
            "unpack a .zip first, and save a binary model as text"
        )
    has_header = len(opening) == 2 and len(opening[0].split()) == 2 < len(opening[1].split())
    width = _checked_width(len(opening[-1 if has_header else 0].split()) - 1, dim)
    vectors: dict[bytes, np.ndarray] = {}
    number = 0
    for number, line in enumerate(chain(opening, file), start=1):
        if (number == 1 and has_header) or not line.strip():
            continue
        word, numbers = _word_and_numbers(line.rstrip(), width, number)
        if word in wanted and word not in vectors:
            vectors[word] = _vector(numbers.split(b" "), width, f"line {number}")
    if has_header and number - 1 < int(opening[0].split()[0]):
        raise InputError(
            f"{number - 1} words, but its first line says {opening[0].split()[0].decode()}; fetch it again"
        )
    return vectors


def _word_and_numbers(line: bytes, width: int, number: int) -> tuple[bytes, bytes]:
    """Cut a line after its word, which may have spaces inside ("at name@domain.com" in GloVe 840B)."""
    fields = line.count(b" ")
    word, _, numbers = line.partition(b" ")
    if fields > width:
        cut = len(line)
        for _ in range(width):
            cut = line.rindex(b" ", 0, cut)
        word, numbers = line[:cut], line[cut + 1 :]
        surplus = word.rpartition(b" ")[2]
    if fields < width or (fields > width and _is_number(surplus)):
        raise InputError(f"line {number} has {fields} numbers; expected {width}, as at the top of the file")
    return word, numbers


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked_width(width: int, dim: int | None) -> int:
    if width < 1 or dim not in (None, width):
        raise InputError(
            f"it has {width} numbers per word, but dim = {dim} is asked for; set dim to the file's"
        )
    return width


def _vector(numbers: Sequence[Any], width: int, where: str) -> np.ndarray:
    try:
        vector = np.array(numbers, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} is not made of numbers ({error})") from None
    if vector.shape != (width,):
        raise InputError(f"{where} has {vector.size} numbers; expected {width}, as at the top of the file")
    if not np.isfinite(vector).all():
        raise InputError(f"{where} has a number that is not finite")
    return vector
