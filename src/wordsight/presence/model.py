"""PresenceModel: the vectors of a picture and words -> the probability that it shows each, and all of them.

A word's log odds are linear in two numbers of a picture: how well its best region answers the word's vector,
and the mean of its regions along the word's own direction. Words of the training captions have rules of their
own; every other word that the text encoder knows takes the common rule. A word is *mentioned* by captions
less often than it is *shown*: ``unmentioned`` corrects for that (see docs/trust.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from jaxtyping import Float, Int

from wordsight.inflection import lemma
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.tensors import F, Tensor, torch

MIN_PROBABILITY = 0.5  # from here on a picture matches, and a word counts as found
WEAK_PROBABILITY = 0.2  # from here on up to the threshold, a word is weakly found
LOGIT_LIMIT = 9.0  # of what is said of one word: 1 in 8,000
SHARE_LIMIT = 1e-4  # of a share that has log odds
MAIN_WORDS = 12  # that a picture surely shows, for comparing it with others
EncodeWords: TypeAlias = Callable[[Sequence[str]], Float[Tensor, "word dim"]]


@dataclass(frozen=True, eq=False)
class WordRules:
    """Linear rules for some words, one row each."""

    directions: Float[Tensor, "word dim"]  # of length 1: what the best region is compared with
    heads: Float[Tensor, "word dim"]  # weights of the mean of the regions
    slopes: Float[Tensor, " word"]  # weight of the best region's cosine
    offsets: Float[Tensor, " word"]
    unmentioned: Float[Tensor, " word"]  # log of shown but not mentioned pictures for each mentioned one

    def __getitem__(self, rows: Sequence[int]) -> "WordRules":
        index = torch.as_tensor(rows, dtype=torch.long)
        return WordRules(**{name: tensor[index] for name, tensor in vars(self).items()})

    def to(self, device: torch.device) -> "WordRules":
        return WordRules(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    @staticmethod
    def join(parts: Sequence["WordRules"]) -> "WordRules":
        return WordRules(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})

    def mentioned_logits(self, pictures: EmbeddingSet) -> Float[Tensor, "image word"]:
        """Log odds that the captions of each picture mention each word."""
        best, mean = self.evidence(pictures)
        return best * self.slopes.to(best) + mean + self.offsets.to(best)

    def evidence(
        self, pictures: EmbeddingSet
    ) -> tuple[Float[Tensor, "image word"], Float[Tensor, "image word"]]:
        """Cosine of the best region with each word, and the mean of the regions along each head."""
        units = unit_set(pictures)
        words = len(self.directions)
        directions = self.directions.repeat(2, 1) if words == 1 else self.directions  # one column is slower
        cosines = units.vectors @ directions.to(units.vectors).T
        if not units.mask.all():
            cosines = cosines.masked_fill(~units.mask[..., None], -torch.inf)
        return cosines.amax(1)[:, :words], units.means @ self.heads.to(units.means).T

    def logits(self, pictures: EmbeddingSet) -> Float[Tensor, "image word"]:
        """Log odds that each picture shows each word."""
        return shown_logits(self.mentioned_logits(pictures), self.unmentioned)


def unit_set(pictures: EmbeddingSet) -> UnitSet:
    """The set with vectors of length 1, in float32."""
    if isinstance(pictures, UnitSet):
        return pictures
    return UnitSet(F.normalize(pictures.vectors.float(), dim=-1), pictures.mask)


def mean_units(pictures: EmbeddingSet) -> Float[Tensor, "image dim"]:
    """Mean of each picture's vectors, each of length 1."""
    return unit_set(pictures).means


def shown_logits(
    mentioned: Float[Tensor, "image word"], unmentioned: Float[Tensor, " word"]
) -> Float[Tensor, "image word"]:
    """Log odds of "mentioned, or shown all the same" from those of "mentioned".

    1 - P(shown) = (1 - P(mentioned)) (1 - P(shown | not mentioned)), and pictures that show a thing without a
    mention are spread like those that are mentioned: their odds differ by one factor per word.
    """
    hidden = F.logsigmoid(-mentioned) + F.logsigmoid(-(mentioned + unmentioned.to(mentioned)))
    return (-torch.expm1(hidden)).clamp(min=1e-30).log().sub(hidden).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


@dataclass(frozen=True)
class CommonRule:
    """The rule for words without one of their own: seen too rarely by the training captions."""

    best: float  # weight of the best region's cosine, above the word's own mean
    mean: float  # weight of the mean over the regions, above the word's own mean
    offset: float  # for a word as rare as these
    unmentioned: float


@dataclass(frozen=True)
class MatchRule:
    """Log odds that a picture shows all words of a text, from each word's and from the score.

    The score counts in deviations from its mean over the reference pictures; n words count with log n.
    """

    bias: float = 0.0
    bias_by_length: float = 0.0
    score: float = 0.0
    score_by_length: float = 0.0
    weakest: float = 1.0
    mean: float = 0.0

    def logits(
        self, words: Float[Tensor, "image word"], deviations: Float[Tensor, " image"]
    ) -> Float[Tensor, " image"]:
        """Log odds of a match with a text of these words."""
        count = torch.full_like(deviations, words.shape[1])
        if words.shape[1] == 0:
            return self.of_summary(count, deviations, deviations, deviations)
        return self.of_summary(count, words.amin(1), words.mean(1), deviations)

    def of_summary(
        self,
        count: Float[Tensor, " pair"],
        weakest: Float[Tensor, " pair"],
        mean: Float[Tensor, " pair"],
        deviations: Float[Tensor, " pair"],
    ) -> Float[Tensor, " pair"]:
        """Log odds from the number of words, the least of their log odds, their mean, and the score.

        Of one word, its own; without a word that names something, -inf.
        """
        length = count.clamp(min=1).log()
        by_score = (self.score + self.score_by_length * length).clamp(min=0)
        bias = self.bias + self.bias_by_length * length
        several = bias + by_score * deviations + self.weakest * weakest + self.mean * mean
        return torch.where(count > 1, several, torch.where(count == 1, weakest, -torch.inf))


@dataclass(frozen=True)
class PictureRule:
    """Log odds that another picture shows at least half of the main things of a picture.

    ``score`` is the weight of the score in deviations from its mean over the reference pictures, ``share``
    that of the log odds of the expected share of the main words that the other picture shows.
    """

    bias: float = 0.0
    score: float = 0.0
    share: float = 1.0

    def logits(
        self, share: Float[Tensor, "*pair"], deviations: Float[Tensor, "*pair"]
    ) -> Float[Tensor, "*pair"]:
        return self.bias + self.score * deviations + self.share * torch.logit(share, eps=SHARE_LIMIT)


def main_words(
    mentioned: Float[Tensor, "image word"],
) -> tuple[Float[Tensor, "image main"], Int[Tensor, "image main"]]:
    """Weights, which add up to 1, and columns of the words that captions of each picture likely mention."""
    chances, columns = torch.sigmoid(mentioned).topk(min(MAIN_WORDS, mentioned.shape[1]), 1)
    return chances / chances.sum(1, keepdim=True), columns


@dataclass(frozen=True, eq=False)
class PresenceModel:
    """Probabilities for one matcher, fitted on captions; carried in the matcher's folder."""

    words: tuple[str, ...]  # lemmas that have a rule of their own
    rules: WordRules
    common: CommonRule
    match: MatchRule
    pictures: PictureRule  # a picture and others
    reference: EmbeddingSet  # pictures that a score is compared with, so that it means the same everywhere
    facts: Mapping[str, Any] = field(default_factory=dict)  # what it was fitted on, and how well it did

    def to(self, device: torch.device) -> "PresenceModel":
        """The model with its rules and its reference on a device."""
        return replace(self, rules=self.rules.to(device), reference=self.reference.to(device))

    @cached_property
    def rows(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @property
    def is_calibrated(self) -> bool:
        """Whether there were enough validation pictures to set the probabilities right."""
        return bool(self.facts.get("calibrated", False))

    def rules_for(self, words: Sequence[str], encode: EncodeWords) -> WordRules:
        """A rule for each word; ``encode`` is called for those that have none of their own."""
        own = [self.rows.get(lemma(word), -1) for word in words]
        rare = [word for word, row in zip(words, own, strict=True) if row < 0]
        rules = self.rules[[row for row in own if row >= 0]]
        if not rare:
            return rules
        both = WordRules.join([rules, self._common_rules(encode(rare))])
        rows, known = iter(range(len(rules.slopes), len(words))), iter(range(len(rules.slopes)))
        return both[[next(rows) if row < 0 else next(known) for row in own]]

    def _common_rules(self, vectors: Float[Tensor, "word dim"]) -> WordRules:
        units = F.normalize(vectors.detach().float().to(self.rules.slopes.device), dim=-1)
        ones, common = torch.ones_like(units[:, 0]), self.common
        rules = WordRules(units, common.mean * units, common.best * ones, 0 * ones, common.unmentioned * ones)
        usual = rules.mentioned_logits(self.reference).mean(0)
        return WordRules(**vars(rules) | {"offsets": common.offset - usual})
