"""An index -> its background: scores of texts, and strengths of words, in unrelated pictures."""

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from wordsight.matcher import Matcher
from wordsight.read.text.base import word_starts
from wordsight.search.engine.brute_force import Rows, blocks
from wordsight.search.index.database import Item
from wordsight.search.query.stop_words import EVERYDAY_WORDS, names_something
from wordsight.sets import EmbeddingSet
from wordsight.similarity.word_alignment import found_by_word
from wordsight.tensors import Tensor, torch

MAX_PICTURES = 10_000  # pictures of the index, evenly spread, that background texts are scored on
MAX_CAPTIONS = 200  # captions of those pictures; each is unrelated to the other pictures
TEXTS_PER_TEMPLATE = 40  # generated texts of each length
TEMPLATES = (
    "{}",
    "a {}",
    "a {} {}",
    "a {} and a {}",
    "a {} {} on a {}",
    "a {} {} with a {} and a {}",
    "a {} and a {} near a {} {} with a {}",
)
CAPTIONS_WEIGHT = 4.0  # weight of all captions together; generated texts have 1
TEXTS_PER_BATCH = 32  # texts
SAME_SCENE_SHARE = 0.5  # pictures whose captions share so many content words belong to the text too
QUARTERS = 4  # parts of the pictures, to estimate how the best score grows with their number
TWO_GROUPS_EXPLAINED = 0.8  # explained variance from which values count as two groups


@runtime_checkable
class RowsWithItems(Rows, Protocol):
    """Rows of an index, or of a sample of it."""

    def items(self, rows: np.ndarray) -> list[Item]: ...


@dataclass(frozen=True)
class TextAgainstAll:
    """One background text and its scores in the index."""

    words: int
    best: float  # its highest score with unrelated pictures
    spread: float  # standard deviation of those scores
    weight: float = 1.0  # captions count more than generated texts
    growth: float = 0.0  # standard deviations between the best of all and the mean best of a quarter


@dataclass(frozen=True)
class Background:
    """Null scores of one state of an index, from ``measure_background``."""

    pictures: int  # number of pictures that the texts were scored on
    texts: tuple[TextAgainstAll, ...]
    word_mean: float  # of the strength of single words in pictures that do not show them
    word_spread: float


def measure_background(matcher: Matcher, snapshot: RowsWithItems, memory_mb: float = 256.0) -> Background:
    """Score captions and generated texts on unrelated pictures of the index."""
    if not len(snapshot):
        return Background(0, (), 0.0, 0.0)
    rows = spread_rows(len(snapshot), MAX_PICTURES)
    item_texts = [item.text for item in snapshot.items(rows)]
    captions, generated = _captions(matcher, item_texts), list(_generated(matcher))
    bank = [*captions.values(), *generated]
    scores = _scores(matcher, snapshot, rows, bank, memory_mb)
    of_caption = CAPTIONS_WEIGHT * len(generated) / max(1, len(captions))
    weights = [of_caption] * len(captions) + [1.0] * len(generated)
    texts = [
        _against_all(len(matcher.tokenizer.words(text)), column[others], weight)
        for text, column, others, weight in zip(
            bank, scores.T, strangers(captions, generated, item_texts), weights, strict=True
        )
    ]
    mean, spread = _lower_group(_found_by_single_words(matcher, snapshot))
    return Background(len(rows), tuple(texts), mean, spread)


def background_texts(matcher: Matcher, snapshot: RowsWithItems) -> list[str]:
    """Captions of some of the pictures, and texts generated from words that the model knows."""
    rows = spread_rows(len(snapshot), MAX_PICTURES)
    captions = _captions(matcher, [item.text for item in snapshot.items(rows)])
    return [*captions.values(), *_generated(matcher)]


def captions_of(matcher: Matcher, item_texts: Sequence[str]) -> list[str]:
    """One caption of each item that has one which the tokenizer accepts."""
    return list(_captions(matcher, item_texts).values())


def spread_rows(count: int, most: int) -> Int[np.ndarray, " row"]:
    """At most ``most`` rows, evenly spread and deterministic."""
    return np.linspace(0, count - 1, max(0, min(count, most))).round().astype(np.int64)


def known_words(matcher: Matcher) -> Sequence[str]:
    """Content words of the model's vocabulary, or everyday words."""
    vocabulary = getattr(matcher.tokenizer, "vocabulary", None)
    if vocabulary is None:
        return EVERYDAY_WORDS
    words = [word for word in vocabulary.entries if names_something(word) and "<" not in word]
    return [word for word in words if len(matcher.tokenizer.words(word)) == 1] if words else EVERYDAY_WORDS


def _captions(matcher: Matcher, item_texts: Sequence[str]) -> dict[int, str]:
    """One caption of each sampled picture, by its position in ``item_texts``."""
    sampled = spread_rows(len(item_texts), MAX_CAPTIONS).tolist()
    firsts = {n: item_texts[n].split("\n")[0].strip() for n in sampled}
    return {n: text for n, text in firsts.items() if text and readable(matcher, text)}


def strangers(
    captions: Mapping[int, str], generated: Sequence[str], item_texts: Sequence[str]
) -> Iterator[Bool[np.ndarray, " picture"]]:
    """For each text, the pictures that are unrelated to it, judged by their captions.

    A generated text belongs to a picture whose captions have all of its content words; a caption belongs to
    its own picture and to those whose captions share SAME_SCENE_SHARE of its content words.
    """
    bank = _NamedThings(item_texts)
    for place, text in captions.items():
        others = bank.shares(text) < SAME_SCENE_SHARE
        others[place] = False
        yield others
    for text in generated:
        yield bank.shares(text) < 1


class _NamedThings:
    """Content words of each picture's captions."""

    def __init__(self, item_texts: Sequence[str]) -> None:
        self.count = len(item_texts)
        self.rows: dict[str, list[int]] = {}
        for row, text in enumerate(item_texts):
            for word in _named(text):
                self.rows.setdefault(word, []).append(row)

    def shares(self, text: str) -> Float[np.ndarray, " picture"]:
        """Share of this text's content words in each picture's captions."""
        words = _named(text)
        shares = np.zeros(self.count)
        for word in words:
            shares[self.rows.get(word, [])] += 1 / len(words)
        return shares.round(6)


def _named(text: str) -> frozenset[str]:
    return frozenset(filter(names_something, set(re.findall(r"\w+", text.casefold()))))


def readable(matcher: Matcher, text: str) -> bool:
    """Whether the tokenizer accepts this text; some are too long, some have no word."""
    try:
        return bool(matcher.tokenizer.words(text))
    except ValueError:
        return False


def _generated(matcher: Matcher) -> Iterator[str]:
    chance, words = random.Random(0), list(known_words(matcher))
    for template in TEMPLATES:
        for _ in range(TEXTS_PER_TEMPLATE):
            yield template.format(*chance.choices(words, k=template.count("{}")))


def _scores(
    matcher: Matcher, snapshot: RowsWithItems, rows: np.ndarray, texts: Sequence[str], memory_mb: float
) -> Float[np.ndarray, "row text"]:
    scores = np.empty((len(rows), len(texts)), np.float32)
    with torch.no_grad():
        encoded = [
            matcher.encode_texts(texts[n : n + TEXTS_PER_BATCH])
            for n in range(0, len(texts), TEXTS_PER_BATCH)
        ]
        together = EmbeddingSet.join(encoded)
        for start, stop, block in blocks(snapshot, rows, memory_mb):
            scores[start:stop] = matcher.similarity(block.to(matcher.device), together).float().cpu()
    return scores


def _against_all(words: int, scores: np.ndarray, weight: float) -> TextAgainstAll:
    groups = split(torch.from_numpy(scores))
    if groups.explained >= TWO_GROUPS_EXPLAINED:  # the upper group are related pictures
        scores = scores[scores <= groups.cut]
    if not len(scores):
        return TextAgainstAll(words, -math.inf, 0.0, weight)
    best, spread = float(scores.max()), float(scores.std())
    quarters = [scores[n::QUARTERS].max() for n in range(min(QUARTERS, len(scores)))]
    growth = (best - float(np.mean(quarters))) / spread if spread > 0 else 0.0
    return TextAgainstAll(words, best, spread, weight, growth)


def _found_by_single_words(matcher: Matcher, snapshot: RowsWithItems) -> Float[Tensor, " value"]:
    """Strengths of single words in some pictures, most of which do not show them."""
    words, chance = list(known_words(matcher)), random.Random(1)
    words = chance.sample(words, min(len(words), 100))
    rows = spread_rows(len(snapshot), 100)
    found = []
    with torch.no_grad():
        images = snapshot.gather(rows).to(matcher.device)
        for word in words:
            text = matcher.encode_texts([word])
            items = _own_items(matcher, word, text)
            aligned = matcher.similarity.align(images, text[[0] * len(images)])
            found.append(found_by_word(aligned)[:, items].mean(1).float().cpu())
    return torch.cat(found) if found else torch.zeros(0)


def _own_items(matcher: Matcher, word: str, text: EmbeddingSet) -> list[int]:
    if text.vectors.shape[1] == 1:
        return [0]
    first = word_starts(matcher.tokenizer, word)[0]
    return list(range(first, first + sum(map(len, matcher.tokenizer.words(word)))))


@dataclass(frozen=True)
class Split:
    """Two groups of numbers, by the cut that explains most of their variance (Otsu)."""

    cut: float  # halfway between the means
    explained: float  # share of the variance; 0.64 for a normal distribution, 0.75 for a uniform one
    share: float  # of the upper group
    lower_mean: float
    lower_spread: float  # standard deviation


def split(values: Float[Tensor, " value"]) -> Split:
    """Otsu's split; with fewer than two different numbers the upper group is empty."""
    ordered = values.double().sort().values
    count = len(ordered)
    variance = float(ordered.var(correction=0)) if count else 0.0
    if count < 2 or variance < 1e-12:
        return Split(math.inf, 0.0, 0.0, float(ordered.mean()) if count else 0.0, 0.0)
    below = torch.arange(1, count, dtype=torch.float64)
    sums = ordered.cumsum(0)
    low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / (count - below)
    between = below * (count - below) / count**2 * (high - low) ** 2
    at = int(between.argmax())
    lower = ordered[: at + 1]
    return Split(
        cut=float(low[at] + high[at]) / 2,
        explained=float(between[at]) / variance,
        share=1 - (at + 1) / count,
        lower_mean=float(lower.mean()),
        lower_spread=float(lower.std(correction=0)),
    )


def _lower_group(values: Float[Tensor, " value"]) -> tuple[float, float]:
    """Mean and deviation of the lower group, or of all values if they are one group."""
    if not len(values):
        return 0.0, 0.0
    groups = split(values)
    if groups.explained >= TWO_GROUPS_EXPLAINED:
        return groups.lower_mean, groups.lower_spread
    return float(values.mean()), float(values.std(correction=0))
