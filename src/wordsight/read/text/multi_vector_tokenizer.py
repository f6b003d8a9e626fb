"""Text -> Tokens of ColPali and ColQwen2: a prompt, the text, ten padding tokens, a line end."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from wordsight.pretrained.models import find_model
from wordsight.pretrained.multi_vector import (
    AUGMENTATION,
    FOLDER,
    family_of,
    load_tokenizer,
    prompts_of,
    save_published,
)
from wordsight.read.text.base import Tokenizer
from wordsight.read.text.word_tokenizer import check_length
from wordsight.registry.limits import Size

_WORD = re.compile(r"\w+|[^\w\s]")


class _Piece(NamedTuple):
    """One token of a text, and where its letters are."""

    place: int  # among all tokens
    id: int
    begin: int
    end: int


class MultiVectorTokenizer(Tokenizer):
    """Tokens of the prompt and of the padding count in every score, and are no words.

    ``model``: a folder or hub name. ``max_length``: the most tokens of one text, all of these included;
    longer ones are cut (``truncate``) or refused.
    """

    def __init__(self, model: str | Path, max_length: Size = 512, truncate: bool = True) -> None:
        self.model, self.max_length, self.truncate = str(model), max_length, truncate
        self._folder = find_model(self.model)
        self._tokenizer = load_tokenizer(self._folder)
        self._prompt = prompts_of(self._folder)[1]
        if not family_of(self._folder).keeps_shape:
            self._prompt = f"{self._tokenizer.bos_token}{self._prompt}"
        self._end = f"{self._tokenizer.pad_token * AUGMENTATION}\n"
        ids, pieces = self._read("a")
        first = pieces[0].place
        self._before, self._after = ids[:first], ids[first + len(pieces) :]
        self._pad = int(self._tokenizer.pad_token_id)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def words(self, text: str) -> list[list[int]]:
        return [[id for id, _ in word] for word in self._words(text)]

    def labels(self, text: str) -> list[str]:
        before, after = (self._tokenizer.convert_ids_to_tokens(ids) for ids in (self._before, self._after))
        return [*before, *(label for word in self._words(text) for _, label in word), *after]

    def save(self, folder: Path) -> dict[str, Any]:
        """Link the published files into the folder, for the encoders too; return the settings."""
        save_published(self._folder, folder)
        return {"model": FOLDER, "max_length": self.max_length, "truncate": self.truncate}

    def _read(self, text: str) -> tuple[list[int], list[_Piece]]:
        """All ids, and the pieces of the text: the first may hold the space behind the prompt."""
        whole = f"{self._prompt}{text}{self._end}"
        read = self._tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        before, first = len(self._prompt), len(self._prompt.rstrip())
        pieces = [
            _Piece(place, read["input_ids"][place], max(0, begin - before), end - before)
            for place, (begin, end) in enumerate(read["offset_mapping"])
            if end > first and begin < before + len(text)
        ]
        return read["input_ids"], pieces

    def _words(self, text: str) -> list[list[tuple[int, str]]]:
        """Id and letters of the pieces of each word; a piece belongs to the word that its letters are in."""
        text = text.encode("utf-8", "replace").decode()
        starts = [found.start() for found in _WORD.finditer(text)]
        pieces = self._read(text)[1] if starts else []
        specials = len(self._before) + len(self._after)
        check_length(text, len(pieces), self.max_length, self.truncate, specials)
        words: dict[int, list[tuple[int, str]]] = {}
        shown = 0
        for piece in pieces[: max(0, self.max_length - specials)]:
            letters = text[max(piece.begin, shown) : max(0, piece.end)]
            at = piece.begin + len(letters) - len(letters.lstrip())
            word = max(1, sum(start <= at for start in starts))
            words.setdefault(word, []).append((piece.id, letters.strip()))
            shown = max(shown, piece.end)
        return list(words.values())
