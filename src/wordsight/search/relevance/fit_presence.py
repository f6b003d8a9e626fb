"""A matcher, its training and validation pairs -> the presence model that the matcher carries."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from wordsight.errors import InputError
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.presence.model import CommonRule, PresenceModel, WordRules, shown_logits, unit_set
from wordsight.runtime.progress import Progress, silent
from wordsight.search.relevance.fit_match import Shown, fit_match, fit_similar, sample_texts
from wordsight.search.relevance.fit_words import WordEvidence, fit_logistic, fit_words
from wordsight.search.relevance.mentions import Mentions, unmentioned_log_odds
from wordsight.search.relevance.presence_quality import area_under_curve, calibration_error
from wordsight.search.relevance.word_vectors import word_vectors
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch

MIN_WORD_PICTURES = 5  # that mention a word with a rule of its own
MAX_WORDS = 4000
MAX_PICTURES = 10_000  # of the training set
MAX_VALIDATION = 500
MIN_PICTURES = 100  # of the training set: of fewer nothing is learnt
MIN_VALIDATION = 100  # of fewer, the probabilities are those of the training set, and said to be so
REFERENCE_ITEMS = 200  # pictures
REFERENCE_NUMBERS = 1 << 21  # of all of them together
BATCH = 64


class TooFewPairsError(InputError):
    """Pairs from which no probabilities can be fitted."""


@torch.no_grad()
def fit_presence(
    matcher: Matcher,
    train: PairSet,
    validation: PairSet,
    report: Progress = silent,
    pictures: int = MAX_PICTURES,
) -> PresenceModel:
    """Fit on at most so many training pictures, and calibrate on the validation pictures.

    Raises InputError where the training set has too few pictures or no words in common.
    """
    train, validation = _some(train, pictures), _some(validation, MAX_VALIDATION)
    if len(train.images) < MIN_PICTURES:
        raise TooFewPairsError(
            f"{len(train.images)} training pictures are too few for probabilities; {MIN_PICTURES} are needed"
        )
    calibrated = len(validation.images) >= MIN_VALIDATION
    check = validation if calibrated else _some(train, MAX_VALIDATION)
    was_training = matcher.training
    matcher.eval()
    try:
        return _fit(matcher, train, check, calibrated, report)
    finally:
        matcher.train(was_training)


def _fit(
    matcher: Matcher, train: PairSet, check: PairSet, calibrated: bool, report: Progress
) -> PresenceModel:
    mentions = Mentions.of(matcher.tokenizer, train)
    words = _frequent_words(mentions)
    units = word_vectors(matcher, [mentions.forms[word].most_common(1)[0][0] for word in words])
    counts = mentions.counts(words)
    evidence, _ = _gather_evidence(matcher, train, units, partial(report, "training pictures"))
    rules, common = fit_words(evidence, counts, partial(report, "words"))
    _, pictures = _gather_evidence(matcher, check, units, partial(report, "validation pictures"))
    check_counts = torch.from_numpy(Mentions.of(matcher.tokenizer, check).counts(words))
    mentioned = check_counts > 0
    if calibrated:
        rules, common = _calibrated(rules, common, pictures, mentioned)
    texts = np.array([len(texts) for texts in mentions.texts], float)
    unmentioned = torch.from_numpy(unmentioned_log_odds(counts, texts)).float()
    rules = replace(rules, unmentioned=unmentioned)
    common = replace(common, unmentioned=float(unmentioned.median()))
    shown = _shown(words, rules, pictures, mentioned)
    reference = _reference(pictures)
    samples = sample_texts(matcher, check, shown.columns)
    by_captions = rules.mentioned_logits(pictures).cpu()
    chances = torch.sigmoid(by_captions)
    facts = {
        "pictures": len(train.images),
        "validation_pictures": len(check.images) if calibrated else 0,
        "calibrated": calibrated,
        "texts_per_picture": round(float(texts.mean()), 2),
        "area_under_curve": round(area_under_curve(chances, mentioned), 4),
        "calibration_error": round(calibration_error(chances, mentioned), 4),
    }
    return PresenceModel(
        words=words,
        rules=rules,
        common=common,
        match=fit_match(matcher, shown, reference, samples),
        pictures=fit_similar(matcher, shown, reference, by_captions, check_counts),
        reference=reference,
        facts=facts,
    )


def _frequent_words(mentions: Mentions) -> tuple[str, ...]:
    counted = mentions.pictures_by_word.most_common(MAX_WORDS)
    words = tuple(word for word, pictures in counted if pictures >= MIN_WORD_PICTURES)
    if not words:
        raise TooFewPairsError(f"no word is in the captions of {MIN_WORD_PICTURES} training pictures")
    return words


def _gather_evidence(
    matcher: Matcher, pairs: PairSet, units: Float[Tensor, "word dim"], report: Callable[[int, int], None]
) -> tuple[WordEvidence, EmbeddingSet]:
    """Evidence of all pictures for all words; and the encoded pictures, no more than are checked."""
    none = torch.zeros(len(units))
    rules = WordRules(units, units, none, none, none)
    means, best, encoded = [], [], []
    for start in range(0, len(pairs.images), BATCH):
        rows = range(start, min(start + BATCH, len(pairs.images)))
        some = matcher.encode_images(matcher.read_images(pairs.images.read(list(rows))))
        units_of_some = unit_set(some)
        means.append(units_of_some.means.cpu())
        best.append(rules.evidence(units_of_some)[0].cpu())
        if start < MAX_VALIDATION:
            encoded.append(some)
        report(rows.stop, len(pairs.images))
    return WordEvidence(torch.cat(means), torch.cat(best), units), EmbeddingSet.join(encoded)


def _calibrated(
    rules: WordRules, common: CommonRule, pictures: EmbeddingSet, mentioned: Bool[Tensor, "image word"]
) -> tuple[WordRules, CommonRule]:
    """All rules with one scale and one constant, which set them right on pictures never trained on."""
    logits = rules.mentioned_logits(pictures).cpu().flatten()
    features = torch.stack([torch.ones_like(logits), logits], 1)
    constant, scale = fit_logistic(features, mentioned.flatten().float(), torch.tensor([0.0, 1.0])).tolist()
    scaled = replace(
        rules,
        heads=scale * rules.heads,
        slopes=scale * rules.slopes,
        offsets=scale * rules.offsets + constant,
    )
    offset = scale * common.offset + constant
    return scaled, CommonRule(scale * common.best, scale * common.mean, offset, common.unmentioned)


def _shown(
    words: Sequence[str], rules: WordRules, pictures: EmbeddingSet, mentioned: Bool[Tensor, "image word"]
) -> Shown:
    by_captions = rules.mentioned_logits(pictures).cpu()
    unseen = torch.sigmoid(by_captions + rules.unmentioned)
    logits = shown_logits(by_captions, rules.unmentioned)
    columns = {word: n for n, word in enumerate(words)}
    return Shown(pictures, columns, logits, torch.where(mentioned, 1.0, unseen))


def _reference(items: EmbeddingSet) -> EmbeddingSet:
    """Some of them, evenly spread, rounded as they are saved, without boxes."""
    most = max(20, min(REFERENCE_ITEMS, REFERENCE_NUMBERS // items.vectors[0].numel()))
    rows = torch.linspace(0, len(items) - 1, min(most, len(items))).round().long()
    return EmbeddingSet(items.vectors[rows].half().float().cpu(), items.mask[rows].cpu())


def _some(pairs: PairSet, most: int) -> PairSet:
    """At most so many pictures, evenly spread."""
    if len(pairs.images) <= most:
        return pairs
    return pairs.subset(np.linspace(0, len(pairs.images) - 1, most).round().astype(int).tolist())
