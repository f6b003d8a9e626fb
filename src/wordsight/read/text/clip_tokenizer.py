"""Texts in, Tokens out, as a published dual encoder reads them: its tokenizer, from the hub or a folder."""

import codecs
import importlib.util
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_folder
from wordsight.pretrained.dual_encoders import FAMILIES, text_facts
from wordsight.pretrained.models import LOCAL, import_transformers, quiet
from wordsight.pretrained.pieces import SPACE, is_byte
from wordsight.pretrained.published_files import check_published
from wordsight.read.text.base import Tokenizer
from wordsight.read.text.saved_tokenizer import open_saved_tokenizer
from wordsight.read.text.word_tokenizer import check_length
from wordsight.read.text.wordpiece_tokenizer import find_tokenizer
from wordsight.registry.limits import Size
from wordsight.tensors import IS_TORCH

FOLDER = "tokenizer"
END_OF_WORD = "</w>"  # how CLIP's pieces spell that a word ends with them


class DualTokenizer(Tokenizer):
    """The tokenizer of a published dual encoder; the first token stands for the text as a whole.

    That is CLIP's start mark, which tells of nothing else. Models without one (SigLIP, some Meta CLIP 2) have
    their end mark there, which the text encoder "dual" moves to where the model has it; TIPSv2, which has no
    marks, has padding there.

    ``model``      a hub name, or a folder with the published tokenizer files (and config.json, if
                   ``max_length`` or ``family`` is not given)
    ``max_length``  the most tokens that one text may have, the marks included; None: what the model reads
    ``truncate``   cut longer texts, as the published models do, instead of refusing them
    ``lower``      read all letters as small ones; None: as the family was trained (all but Meta CLIP 2; the
                   files of SigLIP 2 do not say so)
    ``family``     "clip", "metaclip_2", "siglip", "siglip2" or "tipsv2"; None: what the model is
    """

    def __init__(
        self,
        model: str | Path,
        max_length: Size | None = None,
        truncate: bool = True,
        lower: bool | None = None,
        family: str | None = None,
    ) -> None:
        self.model = str(model)
        folder = find_tokenizer(self.model)
        if max_length is None or family is None:
            facts = text_facts(folder)
            max_length, family = max_length or facts[1], family or facts[0]
        self.max_length = max_length
        self.truncate = truncate
        if family not in FAMILIES:
            raise InputError(f'family = "{family}" is unknown; known: {", ".join(FAMILIES)}')
        self.lower = FAMILIES[family].lower if lower is None else lower
        self.family = family
        if self.max_length < 3:
            raise InputError(
                f"max_length is {max_length}; a text of one piece has up to 3 tokens: start, it, end"
            )
        self._tokenizer = _load(folder)
        self._before, self._after = self._marks()
        self._pad = self.pad_id
        self._bytes = _bytes_of_letters() if self._ends_words() else None

    @property
    def pad_id(self) -> int:
        """The padding id that the model was trained with."""
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id or 0) if pad is None else int(pad)

    def __len__(self) -> int:
        """The number of ids."""
        return len(self._tokenizer)

    def words(self, text: str) -> list[list[int]]:
        """The ids of the pieces of each word; raises as calling does."""
        return [[id for id, _ in word] for word in self._words(text)]

    def labels(self, text: str) -> list[str]:
        """The spelling of each token; a letter that is cut into pieces belongs to the last of them.

        A word with a letter that the model does not know is shown as it is written, with its first piece.
        """
        words = [[piece for _, piece in word] for word in self._words(text)]
        written = [bare for one in text.split() if (bare := "".join(filter(str.isalnum, one)))]
        spelt: list[str] = []
        for n, word in enumerate(words):
            strange = self._tokenizer.unk_token in word and n < len(written)
            spelt += [written[n], *[""] * (len(word) - 1)] if strange else self._spelling(word)
        before, after = (self._tokenizer.convert_ids_to_tokens(ids) for ids in (self._before, self._after))
        return [*before, *spelt, *after]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the tokenizer's files into a folder of their own, so that reading them back needs no hub."""
        with atomic_folder(folder / FOLDER) as fresh:
            self._tokenizer.save_pretrained(fresh)
        names = ("max_length", "truncate", "lower", "family")
        return {"model": FOLDER, **{name: getattr(self, name) for name in names}}

    def whole_words(self) -> list[str]:
        """Pieces that end a word (CLIP) or begin one (sentencepiece), in the order of the vocabulary."""
        pieces = self._tokenizer.get_vocab()
        edge = END_OF_WORD if self._bytes is not None else SPACE
        words = {piece.replace(edge, ""): id for piece, id in pieces.items() if edge in piece}
        return sorted((word for word in words if word.isalpha() and len(word) > 1), key=words.__getitem__)

    def _marks(self) -> tuple[list[int], list[int]]:
        """The ids before and after the words: start and end, or the end alone, or padding, to stand first."""
        starts, ends = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        if self.family == "clip":
            return [starts], [ends]
        ids = self._tokenizer("a")["input_ids"]
        if self.family == "metaclip_2" and ids[0] == starts:
            return [starts], [ends]
        return [ends if ids[-1:] == [ends] else self.pad_id], []  # one without an end reads padding there

    def _words(self, text: str) -> list[list[tuple[int, str]]]:
        """Id and spelling of the pieces of each word."""
        plain = _plain(text, self.lower)
        ids = self._tokenizer(plain, add_special_tokens=False, verbose=False)["input_ids"]
        ids = self._without_marks(ids) if plain.strip() else []  # some have a token for nothing but space
        room = self.max_length - len(self._before) - len(self._after)
        check_length(text, len(ids), self.max_length, self.truncate, self.max_length - room)
        pieces = list(zip(ids, self._tokenizer.convert_ids_to_tokens(ids), strict=True))[:room]
        starts = self._starts([piece for _, piece in pieces])
        return [pieces[start:stop] for start, stop in pairwise([*starts, len(pieces)])]

    def _without_marks(self, ids: Sequence[int]) -> list[int]:
        """A mark that is spelt in the text, which some vocabularies hold as a piece, becomes unknown."""
        marks, unknown = {*self._before, *self._after}, self._tokenizer.unk_token_id
        return [unknown if id in marks and unknown is not None else id for id in ids]

    def _starts(self, pieces: Sequence[str]) -> list[int]:
        """Where words begin. Sentencepiece leaves commas on words; what is no letter is taken off them."""
        if self._bytes is not None:
            return [n for n in range(len(pieces)) if n == 0 or pieces[n - 1].endswith(END_OF_WORD)]
        unknown = self._tokenizer.unk_token
        kinds = [piece == unknown or _kind(piece) for piece in pieces]
        return [n for n, piece in enumerate(pieces) if n == 0 or piece.startswith(SPACE) or _turns(kinds, n)]

    def _ends_words(self) -> bool:
        return self.family == "clip" and any(
            piece.endswith(END_OF_WORD) for piece in self._tokenizer.get_vocab()
        )

    def _spelling(self, word: Sequence[str]) -> Iterator[str]:
        """The letters of a word, piece by piece."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for n, piece in enumerate(word):
            yield decoder.decode(self._as_bytes(piece), final=n == len(word) - 1)

    def _as_bytes(self, piece: str) -> bytes:
        if self._bytes is not None:
            return bytes(self._bytes.get(letter, 63) for letter in piece.removesuffix(END_OF_WORD))
        if is_byte(piece):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace(SPACE, "").encode()


def _plain(text: str, lower: bool) -> str:
    """Without letters that no file can hold (half of a pair), which some tokenizers fall over."""
    text = text.encode("utf-8", "replace").decode()
    return text.lower() if lower else text


def _kind(piece: str) -> bool | None:
    """Whether a piece is of letters and digits; None for a mere space, which begins either."""
    if is_byte(piece):
        return True
    bare = piece.replace(SPACE, "")
    return bare[0].isalnum() if bare else None


def _turns(kinds: Sequence[bool | None], n: int) -> bool:
    return kinds[n - 1] is not None and kinds[n] != kinds[n - 1]


def _bytes_of_letters() -> dict[str, int]:
    """GPT-2's and CLIP's way to write bytes as letters: those that print stand for themselves."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in prints]
    return {chr(byte): byte for byte in prints} | {chr(256 + n): byte for n, byte in enumerate(others)}


def _is_sentencepiece(folder: Path) -> bool:
    """Whether the tokenizer is only there in a form that transformers reads with sentencepiece."""
    if (folder / "spiece.model").is_file():
        return True
    others = any((folder / name).is_file() for name in ("tokenizer.model", "sentencepiece.bpe.model"))
    return others and not (folder / "tokenizer.json").is_file()


def _load(folder: Path) -> Any:
    """The tokenizer of that folder, which neither pads nor cuts, and spells marks as letters."""
    if not IS_TORCH:
        check_published(folder)
        return open_saved_tokenizer(folder)
    if _is_sentencepiece(folder) and importlib.util.find_spec("sentencepiece") is None:
        raise ModuleNotFoundError(
            f"the tokenizer in {folder} is a sentencepiece model; install what reads it: "
            'pip install "wordsight[siglip]"',
            name="sentencepiece",
        )
    check_published(folder)
    transformers = import_transformers()
    try:
        with quiet(transformers):
            return transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True, **LOCAL)
    except Exception as error:  # damaged files fail in many ways, most of them without naming the file
        raise InputError(
            f"the tokenizer files in {folder} cannot be read ({type(error).__name__}: {error}); "
            "fetch them again"
        ) from error
