"""Tokenizer protocol: text in, Tokens out, and a label for every token."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.read.text.padding import pad_ids
from wordsight.read.text.vocabulary import several
from wordsight.sets import Tokens


class Tokenizer:
    """Turns texts into ids, and says which word each id stands for."""

    max_length: int  # the most tokens that one text may have, specials included
    _before: Sequence[int] = ()  # specials around the words
    _after: Sequence[int] = ()
    _pad: int = 0

    @property
    def mask_id(self) -> int | None:
        """Id of a masked word in training; None if there is no such token."""
        return None

    def __len__(self) -> int:
        """The number of ids."""
        raise NotImplementedError

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Ids with specials. An empty or too long text is an error that quotes it and names the limit."""
        return pad_ids([self.finish(self.words(text)) for text in several(texts)], self._pad)

    def words(self, text: str) -> list[list[int]]:
        """The ids of each word, specials left out: what augmentation works on."""
        raise NotImplementedError

    def finish(self, words: Sequence[Sequence[int]]) -> list[int]:
        """The flat ids with specials around them: ``<start> ... <end>``, ``[CLS] ... [SEP]``."""
        return [*self._before, *(id for word in words for id in word), *self._after]

    def labels(self, text: str) -> list[str]:
        """A label for each token of ``self([text])``, specials included."""
        raise NotImplementedError

    def whole_words(self) -> list[str]:
        """Words that are one piece, frequent ones first; none where words are never cut into pieces."""
        return []

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what the tokenizer needs into the folder; return its settings, file names relative to it."""
        raise NotImplementedError


def word_starts(tokenizer: Tokenizer, text: str, words: Sequence[Sequence[int]] | None = None) -> list[int]:
    """Where the first piece of each word of the text stands among its tokens, specials counted.

    ``words`` are ``tokenizer.words(text)``, where the caller has them.
    """
    words = tokenizer.words(text) if words is None else words
    pieces = [piece for word in words for piece in word]
    flat = list(tokenizer.finish(words))
    for before in range(len(flat) - len(pieces) + 1):
        if flat[before : before + len(pieces)] == pieces:
            break
    else:
        raise InputError(f'"{text}": the tokenizer drops words between words() and finish()')
    starts, position = [], before
    for word in words:
        starts.append(position)
        position += len(word)
    return starts


def spelled_words(tokenizer: Tokenizer, text: str) -> list[tuple[int, str]]:
    """For each word, the place of its first piece among the tokens, and the spelling of its pieces."""
    labels, words = tokenizer.labels(text), tokenizer.words(text)
    starts = word_starts(tokenizer, text, words)
    return [
        (start, "".join(labels[start : start + len(pieces)]))
        for start, pieces in zip(starts, words, strict=True)
    ]
