"""Evidence of every caption -> how surely it belongs to its picture, and the words that speak against it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.audit.dataset import AuditedData, AuditedSplit
from wordsight.audit.evidence import FEATURES, SplitEvidence
from wordsight.audit.words import CaptionWords
from wordsight.presence.model import WEAK_PROBABILITY
from wordsight.search.relevance.fit_words import fit_logistic

# A data set of a few pairs stays near these weights, which were fitted on Flickr8k's test split.
USUAL_WEIGHTS = dict(zip(FEATURES, (-2.7, 1.0, 0.7, 0.2, 0.1, 7.0, -2.0), strict=True))


@dataclass(frozen=True)
class AuditedWord:
    """A word of a caption, the probability that the picture shows it, and whether others say it."""

    text: str
    probability: float
    usual: float  # probability of this word for a usual picture of the split
    said_by_others: bool  # by another caption of the picture

    @property
    def unsupported(self) -> bool:
        """Neither shown, nor likelier than in a usual picture, nor in another caption of the picture."""
        return self.probability < min(WEAK_PROBABILITY, self.usual) and not self.said_by_others

    @property
    def evidence(self) -> float:
        """Log odds against a usual picture: negative ones speak against the word."""
        return _logit(self.probability) - _logit(self.usual)

    def to_dict(self) -> dict[str, Any]:
        return {"word": self.text, "probability": self.probability, "unsupported": self.unsupported}


def _logit(probability: float) -> float:
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(limited / (1 - limited))


@dataclass(frozen=True)
class AuditedCaption:
    """A caption, its picture, and the probability that it was written for this picture.

    The probability compares this picture with a random one of the split, at even odds before.
    """

    number: int  # among the captions of all splits
    picture: int  # among the pictures of all splits
    probability: float
    words: tuple[AuditedWord, ...]


def weigh(
    data: AuditedData, words: CaptionWords, split: AuditedSplit, evidence: SplitEvidence
) -> list[AuditedCaption]:
    """Every caption of a split; the weights of the evidence are fitted on the split itself.

    Captions with their own pictures are examples of right pairs, with random pictures of wrong ones. The few
    faults among the right ones hardly move seven weights.
    """
    weights = fit_weights(evidence.own, evidence.other)
    chances = torch.sigmoid(evidence.own @ weights).tolist()
    found = []
    for text, chance in enumerate(chances):
        number = split.first_text + text
        picture = data.image_of[number]
        said = words.said_by(data.texts_of[picture])
        shown = tuple(
            AuditedWord(words.forms[number][word], _chance(logit), _chance(usual), said[word] > 1)
            for word, (logit, usual) in evidence.words[text].items()
        )
        found.append(AuditedCaption(number, picture, chance, shown))
    return found


def fit_weights(
    own: Float[Tensor, "text feature"], other: Float[Tensor, "text feature"]
) -> Float[Tensor, " feature"]:
    labels = torch.cat([torch.ones(len(own)), torch.zeros(len(other))])
    return fit_logistic(torch.cat([own, other]), labels, torch.tensor(list(USUAL_WEIGHTS.values())))


def _chance(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def doubtful_captions(captions: Sequence[AuditedCaption], top: int) -> list[AuditedCaption]:
    """The captions that fit their pictures least, the least likely first."""
    return sorted(captions, key=lambda one: (one.probability, one.number))[:top]


def doubtful_words(captions: Sequence[AuditedCaption], top: int) -> list[tuple[AuditedCaption, AuditedWord]]:
    """Single words that the picture speaks against most, of captions that fit otherwise."""
    found = [
        (one, word) for one in captions if one.probability >= 0.5 for word in one.words if word.unsupported
    ]
    return sorted(found, key=lambda pair: (pair[1].evidence, pair[0].number))[:top]
