"""Captions and pictures -> what speaks for each pair, and for the caption with another picture.

The evidence of a pair are its score, in deviations from the scores of its caption with other pictures and of
its picture with other captions; how surely the picture shows the caption's words, against a usual picture;
and the share of the caption that other captions of the picture say too.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.audit.dataset import AuditedData, AuditedSplit
from wordsight.audit.words import CaptionWords
from wordsight.evaluation.encode import batches, encode_images
from wordsight.matcher import Matcher
from wordsight.presence.model import WordRules
from wordsight.runtime.progress import Progress
from wordsight.search.relevance.word_vectors import word_vectors
from wordsight.sets import EmbeddingSet

REFERENCE_PICTURES, REFERENCE_TEXTS = 200, 400
BLOCK = 128  # captions
SPREAD = 1e-6
FEATURES = (
    "constant",
    "score by caption",
    "score by picture",
    "words",
    "least word",
    "agreement",
    "has others",
)


@dataclass(frozen=True, eq=False)
class SplitEvidence:
    """Features of all captions of one split, with their own picture and with another one."""

    own: Float[Tensor, "text feature"]
    other: Float[Tensor, "text feature"]
    words: tuple[dict[str, tuple[float, float]], ...]  # per caption: lemma -> log odds, usual log odds
    pictures: EmbeddingSet


class Gatherer:
    """Evidence of one split after another."""

    def __init__(self, matcher: Matcher, data: AuditedData, progress: Progress, batch_size: int = 64) -> None:
        self.matcher, self.data, self.progress, self.batch_size = matcher, data, progress, batch_size
        self.words = CaptionWords.of(matcher.tokenizer, data.texts)
        self.columns = {word: n for n, word in enumerate(self.words.vocabulary)}
        self.rules = self._rules()

    def _rules(self) -> WordRules | None:
        if self.matcher.presence is None or not self.columns:
            return None
        spelt = [self.words.spelt[word] for word in self.columns]
        return self.matcher.presence.rules_for(spelt, lambda some: word_vectors(self.matcher, some))

    def gather(self, split: AuditedSplit) -> SplitEvidence:
        """Raises what reading a picture raises."""
        pairs = split.pairs
        pictures = encode_images(self.matcher, pairs, self.batch_size, self.progress)
        chance = random.Random(0)
        reference = sorted(chance.sample(range(len(pictures)), min(REFERENCE_PICTURES, len(pictures))))
        sample = sorted(chance.sample(range(len(pairs)), min(REFERENCE_TEXTS, len(pairs))))
        by_picture = _Spread.over_rows(self._scores(pictures, [pairs.texts[row] for row in sample]))
        usual = self._word_logits(pictures[reference])
        block = _Block(self, split, pictures, reference, by_picture, None if usual is None else _mean(usual))
        order = pairs.image_of.argsort(stable=True).tolist()
        rows: dict[int, tuple[list[float], list[float], dict[str, tuple[float, float]]]] = {}
        for part in batches(len(order), BLOCK):
            some = order[part.start : part.stop]
            rows |= dict(zip(some, block.evidence(some, chance), strict=True))
            self.progress("captions", part.stop, len(order))
        every = [rows[text] for text in range(len(order))]
        own, other = (torch.tensor([row[n] for row in every], dtype=torch.float32) for n in (0, 1))
        return SplitEvidence(own, other, tuple(row[2] for row in every), pictures)

    def _scores(self, pictures: EmbeddingSet, texts: Sequence[str]) -> Float[Tensor, "image text"]:
        parts = [
            self.matcher.similarity(pictures, self.matcher.encode_texts(list(texts[rows.start : rows.stop])))
            for rows in batches(len(texts), BLOCK)
        ]
        return torch.cat(parts, 1).float().cpu()

    def _word_logits(self, pictures: EmbeddingSet) -> Float[Tensor, "image word"] | None:
        return None if self.rules is None else self.rules.logits(pictures).float().cpu()


@dataclass(frozen=True, eq=False)
class _Spread:
    """Mean and deviation of scores."""

    mean: Float[Tensor, " item"]
    spread: Float[Tensor, " item"]

    @staticmethod
    def over_rows(scores: Float[Tensor, "item other"]) -> "_Spread":
        return _Spread(scores.mean(1), scores.std(1, correction=0).clamp(min=SPREAD))

    def deviation(self, item: int, score: float) -> float:
        return float((score - self.mean[item]) / self.spread[item])


def _mean(logits: Float[Tensor, "image word"]) -> Float[Tensor, " word"]:
    """Log odds of the mean probability."""
    return torch.logit(torch.sigmoid(logits).mean(0), eps=1e-6)


@dataclass(frozen=True, eq=False)
class _Block:
    """A block of captions is compared with its own pictures and with the reference pictures of the split."""

    gatherer: Gatherer
    split: AuditedSplit
    pictures: EmbeddingSet
    reference: list[int]
    by_picture: _Spread
    usual: Float[Tensor, " word"] | None

    def evidence(
        self, texts: Sequence[int], chance: random.Random
    ) -> list[tuple[list[float], list[float], dict[str, tuple[float, float]]]]:
        """For each caption: features with its picture, with a random one, and the log odds of its words."""
        image_of = [int(self.split.pairs.image_of[text]) for text in texts]
        encoded = self.gatherer.matcher.encode_texts([self.split.pairs.texts[text] for text in texts])
        similarity = self.gatherer.matcher.similarity
        own_rows = list(dict.fromkeys(image_of))
        own = similarity(self.pictures[own_rows], encoded).float().cpu()
        others = similarity(self.pictures[self.reference], encoded).float().cpu()
        by_text = _Spread.over_rows(others.T)
        own_logits, other_logits = (
            self.gatherer._word_logits(self.pictures[rows]) for rows in (own_rows, self.reference)
        )
        place, found = {row: n for n, row in enumerate(own_rows)}, []
        for n, (text, image) in enumerate(zip(texts, image_of, strict=True)):
            at = place[image]
            other = self._another(image, chance)
            logits = None if own_logits is None else own_logits[at]
            other_words = None if other_logits is None else other_logits[other]
            another = self.reference[other]
            score, other_score = float(own[at, n]), float(others[other, n])
            found.append(
                (
                    self._features(text, image, by_text.deviation(n, score), score, logits),
                    self._features(
                        text, another, by_text.deviation(n, other_score), other_score, other_words
                    ),
                    self._word_evidence(text, logits),
                )
            )
        return found

    def _another(self, image: int, chance: random.Random) -> int:
        """The place, among the reference pictures, of one with another identity, if there is one."""
        identities = self.split.pairs.identities
        for _ in range(20):
            place = chance.randrange(len(self.reference))
            if int(identities[self.reference[place]]) != int(identities[image]):
                break
        return place

    def _features(
        self, text: int, image: int, by_text: float, score: float, logits: Float[Tensor, " word"] | None
    ) -> list[float]:
        words, data = self.gatherer.words, self.gatherer.data
        number = self.split.first_text + text
        columns = [self.gatherer.columns[word] for word in words.forms[number]]
        mean = least = 0.0
        if logits is not None and self.usual is not None and columns:
            surprise = logits[columns] - self.usual[columns]
            mean, least = float(surprise.mean()), float(surprise.min())
        own = data.texts_of[self.split.first_picture + image]
        is_own = number in own
        has_others = len(own) > is_own
        agreement = words.agreement(number, words.said_by(own), is_own) if has_others else 0.0
        return [
            1.0,
            by_text,
            self.by_picture.deviation(image, score),
            mean,
            least,
            agreement,
            float(has_others),
        ]

    def _word_evidence(
        self, text: int, logits: Float[Tensor, " word"] | None
    ) -> dict[str, tuple[float, float]]:
        if logits is None or self.usual is None:
            return {}
        forms = self.gatherer.words.forms[self.split.first_text + text]
        columns = [self.gatherer.columns[word] for word in forms]
        return {
            word: (float(logits[column]), float(self.usual[column]))
            for word, column in zip(forms, columns, strict=True)
        }
