"""Texts in, Tokens out, one per word, by a vocabulary."""

from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.read.text.base import Tokenizer
from wordsight.read.text.vocabulary import END, SPECIALS, START, Vocabulary
from wordsight.read.text.word_rules import split_words as split_words
from wordsight.registry.limits import Size

FILE = "vocabulary.json"
AROUND = {
    "both": ([START], [END]),
    "start": ([START], []),
    "none": ([], []),
}  # ids before and after the words


class Words(Tokenizer):
    """The word tokenizer of the whole field: ``<start> words <end>``, ``<unk>`` for words not known.

    ``vocabulary``   a Vocabulary or the path of its JSON
    ``word_splitter``  how texts are cut into words: "treebank", "karpathy", "cmpl" or "cmpl-cased"; use
                     the vocabulary's own
    ``max_length``   the most tokens that one text may have, the specials around it included
    ``truncate``     cut longer texts instead of refusing them
    ``mask``         add ``<mask>`` to a vocabulary without it, for augmentation; an encoder made for the
                     vocabulary as it is (SCAN's) wants False
    ``specials``     what stands around the words: "both", only the "start" (CMPL reads no ``<end>``), or
                     "none" (CMPL's PyTorch port)
    """

    def __init__(
        self,
        vocabulary: Vocabulary | str | Path,
        word_splitter: str = "treebank",
        max_length: Size = 256,
        truncate: bool = False,
        mask: bool = True,
        specials: str = "both",
    ) -> None:
        split_words("", word_splitter)  # an unknown rule is an error now, not at the first text
        if specials not in AROUND:
            raise InputError(f'specials "{specials}" is not known; known: {", ".join(sorted(AROUND))}')
        if max_length < 3:
            raise InputError(
                f"max_length is {max_length}; a text with one word has 3 tokens: <start>, it, <end>"
            )
        known = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.load(vocabulary)
        self.vocabulary = known.with_mask() if mask else known
        self.word_splitter = word_splitter
        self.max_length = max_length
        self.truncate = truncate
        self.mask = mask
        self.specials = specials
        self._before, self._after = AROUND[specials]

    @property
    def mask_id(self) -> int | None:
        return self.vocabulary.mask_id

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.vocabulary)

    def words(self, text: str) -> list[list[int]]:
        """One id per word, each in a list of its own; raises as calling does."""
        return [[word] for word in self.vocabulary.ids(self._split(text))]

    def labels(self, text: str) -> list[str]:
        """The words as the rule cuts them, between the specials."""
        return (
            [SPECIALS[id] for id in self._before] + self._split(text) + [SPECIALS[id] for id in self._after]
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write vocabulary.json."""
        self.vocabulary.save(folder / FILE)
        settings = {
            name: getattr(self, name)
            for name in ("word_splitter", "max_length", "truncate", "mask", "specials")
        }
        return {"vocabulary": FILE, **settings}

    def _split(self, text: str) -> list[str]:
        words = split_words(text, self.word_splitter)
        around = len(self._before) + len(self._after)
        check_length(text, len(words), self.max_length, self.truncate, around)
        return words[: self.max_length - around]


def check_length(text: str, tokens: int, max_length: int, truncate: bool, specials: int = 2) -> None:
    """Refuse a text without tokens, and one whose tokens and specials are more than ``max_length``."""
    quoted = text if len(text) <= 200 else f"{text[:200]}..."
    if tokens == 0:
        raise InputError(f'the text "{quoted}" has no words; give at least one, or leave it out')
    if tokens + specials > max_length and not truncate:
        raise InputError(
            f'the text "{quoted}" has {tokens + specials} tokens with its specials, and the limit is '
            f"{max_length}; shorten it, or set truncate = true to cut such texts"
        )
