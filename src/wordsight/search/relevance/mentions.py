"""Captions of pictures -> the words that they mention, and how often they leave a word out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8

from wordsight.inflection import lemma
from wordsight.pairs import PairSet
from wordsight.read.text.base import Tokenizer
from wordsight.search.query.encoded import words_of
from wordsight.search.query.stop_words import names_something

SHRINKAGE = 20  # pictures: a word mentioned in so many is taken half for itself, half for a usual word
MAX_UNMENTIONED = 3.0  # shown without a mention, for each picture with one
NEVER = -20.0  # log odds


@dataclass(frozen=True)
class Mentions:
    """Texts of some pictures, word by word."""

    texts: tuple[tuple[tuple[str, ...], ...], ...]  # per image and text: the words that name something

    @staticmethod
    def of(tokenizer: Tokenizer, pairs: PairSet) -> "Mentions":
        words = [naming_words(tokenizer, text) for text in pairs.texts]
        return Mentions(tuple(tuple(words[row] for row in rows) for rows in pairs.texts_by_image()))

    @cached_property
    def pictures_by_word(self) -> Counter[str]:
        """For each lemma, how many pictures mention it."""
        mentioned = ({lemma(word) for text in texts for word in text} for texts in self.texts)
        return Counter(word for words in mentioned for word in words)

    @cached_property
    def forms(self) -> dict[str, Counter[str]]:
        """How each lemma is written, and how often."""
        forms: dict[str, Counter[str]] = {}
        for texts in self.texts:
            for text in texts:
                for word in text:
                    forms.setdefault(lemma(word), Counter())[word] += 1
        return forms

    def counts(self, words: Sequence[str]) -> UInt8[np.ndarray, "image word"]:
        """How many texts of each image mention each of these lemmas."""
        column = {word: n for n, word in enumerate(words)}
        counts = np.zeros((len(self.texts), len(words)), np.uint8)
        for image, texts in enumerate(self.texts):
            for text in texts:
                for n in {column[one] for one in map(lemma, text) if one in column}:
                    counts[image, n] = min(255, counts[image, n] + 1)
        return counts


def naming_words(tokenizer: Tokenizer, text: str) -> tuple[str, ...]:
    """Words of a text that the model knows and that can be missing from a picture, in small letters."""
    try:
        words = words_of(tokenizer, text)
    except ValueError:  # no words, or too many for the tokenizer
        return ()
    return tuple(word.text.casefold() for word in words if word.known and names_something(word.text))


def unmentioned_log_odds(
    counts: UInt8[np.ndarray, "image word"], texts: Float[np.ndarray, " image"]
) -> Float[np.ndarray, " word"]:
    """Log of pictures that show a word without a mention, for each picture that mentions it.

    Several people described each picture: a word that most pictures have from one of them only is one that
    people often leave out. Chao's estimate of the unseen: (K - 1) / K x f1 (f1 - 1) / (2 (f2 + 1)), where f1
    and f2 pictures have it from exactly one and two of K. Of pictures with one text nothing can be known.
    """
    several = counts[texts >= 2]
    if 2 * len(several) < len(counts):
        return np.full(counts.shape[1], NEVER)
    once, twice = (several == 1).sum(0).astype(float), (several == 2).sum(0)
    mentioned = np.maximum(1, (several > 0).sum(0))
    share = 1 - 1 / float(texts[texts >= 2].mean())
    ratio = share * once * (once - 1) / (2 * (twice + 1)) / mentioned
    logs = np.log(np.clip(ratio, 1e-3, None))
    frequent = mentioned >= 50
    usual = min(0.0, float(np.median(logs[frequent]))) if frequent.any() else 0.0
    own = mentioned / (mentioned + SHRINKAGE)
    limited: Float[np.ndarray, " word"] = np.minimum(own * logs + (1 - own) * usual, np.log(MAX_UNMENTIONED))
    return limited
