"""Validation pictures and the words they show -> the rules that turn words and scores into a match.

Texts of many lengths are made of captions: whole captions, stretches of a few naming words, and two words
that no picture need show together. A picture answers a text if it is the text's own, or if it shows all that
the text names: mentioned words count as shown, others as likely as the word rules say.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from wordsight.inflection import lemma
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.presence.model import SHARE_LIMIT, MatchRule, PictureRule, main_words
from wordsight.search.relevance.fit_words import fit_logistic
from wordsight.search.relevance.mentions import naming_words
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch

STRETCHES = (2, 3, 4)  # naming words
TEXTS_AT_ONCE = 64
SPREAD = 1e-6  # the least deviation of scores that says anything
MOST_SHOWN = 0.5  # of the main things of a picture: from here on another one that shows them is similar


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures, and how surely each shows each word."""

    pictures: EmbeddingSet
    columns: dict[str, int]  # by lemma
    logits: Float[Tensor, "image word"]  # of the word rules
    shown: Float[Tensor, "image word"]  # 1 where mentioned, else how likely it is there all the same


@dataclass(frozen=True)
class SampleText:
    text: str
    words: tuple[str, ...]  # distinct lemmas that have a column
    own: int | None  # row of the picture it was written of


def sample_texts(matcher: Matcher, pairs: PairSet, columns: dict[str, int]) -> list[SampleText]:
    """For each picture a caption, stretches of captions, and a text that mixes two pictures' words."""
    chance, made = random.Random(0), []
    vocabulary = sorted(columns)
    for image, rows in enumerate(pairs.texts_by_image()):
        if not rows:
            continue
        captions = [pairs.texts[row] for row in rows]
        texts: list[tuple[str, int | None]] = [(chance.choice(captions), image)]
        texts += [(text, image) for text in _stretches(chance, captions, columns)]
        own = [lemma(word) for word in naming_words(matcher.tokenizer, captions[0])]
        texts += [(f"a {one} and a {chance.choice(vocabulary)}", None) for one in own[:1]]
        for text, row in texts:
            words = dict.fromkeys(lemma(word) for word in naming_words(matcher.tokenizer, text))
            known = tuple(word for word in words if word in columns)
            if len(known) > 1:
                made.append(SampleText(text, known, row))
    return made


def _stretches(chance: random.Random, captions: Sequence[str], columns: dict[str, int]) -> Iterator[str]:
    for count in STRETCHES:
        words = chance.choice(captions).split()
        places = [n for n, word in enumerate(words) if lemma(word.strip(".,!?;:\"'")) in columns]
        if len(places) > count:
            first = chance.randrange(len(places) - count + 1)
            yield " ".join(words[places[first] : places[first + count - 1] + 1])


def deviations(
    scores: Float[Tensor, "image text"], reference: Float[Tensor, "other text"]
) -> Float[Tensor, "image text"]:
    """Scores in deviations from the mean of each text's scores with the reference pictures."""
    spread = reference.std(0, correction=0).clamp(min=SPREAD)
    return (scores - reference.mean(0)) / spread


def fit_match(
    matcher: Matcher, shown: Shown, reference: EmbeddingSet, texts: Sequence[SampleText]
) -> MatchRule:
    """By logistic regression over every pair of a picture and a text."""
    features, labels, reference = [], [], reference.to(matcher.device)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        encoded = matcher.encode_texts([one.text for one in some])
        scores = matcher.similarity(shown.pictures, encoded).float().cpu()
        distances = deviations(scores, matcher.similarity(reference, encoded).float().cpu())
        for n, one in enumerate(some):
            places = [shown.columns[word] for word in one.words]
            logits = shown.logits[:, places]
            length = torch.full((len(logits),), float(np.log(len(places))))
            score, weakest, mean = distances[:, n], logits.amin(1), logits.mean(1)
            columns = (torch.ones_like(length), length, score, score * length, weakest, mean)
            features.append(torch.stack(columns, 1))
            answers = shown.shown[:, places].prod(1)
            if one.own is not None:
                answers[one.own] = 1.0
            labels.append(answers)
    if not features:
        return MatchRule()
    start_at = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    return MatchRule(*fit_logistic(torch.cat(features), torch.cat(labels), start_at).tolist())


def fit_similar(
    matcher: Matcher,
    shown: Shown,
    reference: EmbeddingSet,
    mentioned: Float[Tensor, "image word"],
    counts: Integer[Tensor, "image word"],
) -> PictureRule:
    """By logistic regression over every two pictures; ``mentioned``: log odds, ``counts``: of captions.

    The main things of a picture are those that two of its captions mention, or the one that it has. Another
    picture is similar if it shows half of them: mentioned words count as shown, others as likely as the word
    rules say.
    """
    pictures = EmbeddingSet(shown.pictures.vectors, shown.pictures.mask)
    scores = matcher.similarity(pictures, pictures).float().cpu()
    distances = deviations(scores, matcher.similarity(reference.to(pictures.device), pictures).float().cpu())
    weights, columns = main_words(mentioned)
    of_words = torch.zeros_like(mentioned).scatter(1, columns, weights)
    share = torch.sigmoid(shown.logits) @ of_words.T
    main = (counts >= min(2, int(counts.max()))).float()
    alike = (shown.shown @ main.T >= MOST_SHOWN * main.sum(1).clamp(min=1)).float()
    apart = ~torch.eye(len(alike), dtype=torch.bool)
    features = torch.stack([torch.ones_like(share), distances, torch.logit(share, eps=SHARE_LIMIT)], -1)
    start = torch.tensor([-3.0, 0.0, 1.0])
    return PictureRule(*fit_logistic(features[apart], alike[apart], start).tolist())
