"""Captions -> the words that name something, and how far the other captions of a picture say them too."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from wordsight.inflection import lemma
from wordsight.read.text.base import Tokenizer
from wordsight.search.relevance.mentions import naming_words


@dataclass(frozen=True, eq=False)
class CaptionWords:
    """The distinct lemmas of each caption, and their forms."""

    forms: tuple[dict[str, str], ...]  # for each caption: lemma -> the word as written

    @staticmethod
    def of(tokenizer: Tokenizer, texts: Sequence[str]) -> "CaptionWords":
        return CaptionWords(tuple({lemma(w): w for w in naming_words(tokenizer, text)} for text in texts))

    @cached_property
    def vocabulary(self) -> list[str]:
        return sorted(self._counts)

    @cached_property
    def spelt(self) -> dict[str, str]:
        """One written form of each lemma."""
        return {key: word for forms in self.forms for key, word in forms.items()}

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(word for forms in self.forms for word in forms)

    def weight(self, word: str) -> float:
        """How much a word tells: the log of captions for each one that has it."""
        return math.log(len(self.forms) / self._counts[word])

    def said_by(self, captions: Sequence[int]) -> Counter[str]:
        """For each word, how many of these captions have it."""
        return Counter(word for caption in captions for word in self.forms[caption])

    def agreement(self, caption: int, said: Counter[str], is_own: bool) -> float:
        """Share of a caption that others say too, by the weights of its words.

        ``said`` counts the words of a picture's captions; where the caption is one of them (``is_own``), a
        word must be said by another one. A caption without words that name something has one half.
        """
        weights = {word: self.weight(word) for word in self.forms[caption]}
        total = sum(weights.values())
        shared = sum(weight for word, weight in weights.items() if said[word] > is_own)
        return shared / total if total > 0 else 0.5
