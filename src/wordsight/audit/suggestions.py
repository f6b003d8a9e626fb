"""Pictures and the data's own captions -> the captions of other pictures that fit each picture best."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.audit.dataset import AuditedData
from wordsight.evaluation.encode import batches
from wordsight.matcher import Matcher
from wordsight.runtime.progress import Progress
from wordsight.sets import EmbeddingSet

MAX_CAPTIONS = 20_000  # that are compared; of more, evenly spread ones
BLOCK = 256
EACH = 3


@dataclass(frozen=True)
class Suggestion:
    """A caption of the data that fits a picture."""

    caption: int
    score: float  # in deviations from the caption's scores with the pictures that are compared with it


def suggest(
    matcher: Matcher,
    data: AuditedData,
    pictures: dict[int, EmbeddingSet],
    progress: Progress,
    each: int = EACH,
) -> dict[int, list[Suggestion]]:
    """For each picture, given with its encoding, the best captions of other pictures with other texts."""
    numbers = list(pictures)
    if not numbers:
        return {}
    encoded = EmbeddingSet.join(list(pictures.values()))
    count = min(MAX_CAPTIONS, len(data.texts))
    pool = sorted({round(n * (len(data.texts) - 1) / max(1, count - 1)) for n in range(count)})
    best = torch.full((len(numbers), 0), 0.0)
    places = torch.zeros(len(numbers), 0, dtype=torch.long)
    for rows in batches(len(pool), BLOCK):
        some = pool[rows.start : rows.stop]
        texts = matcher.encode_texts([data.texts[number] for number in some])
        scores = _allowed(data, numbers, some, matcher.similarity(encoded, texts).float().cpu())
        best, order = torch.cat([best, scores], 1).topk(min(8 * each, best.shape[1] + len(some)), 1)
        places = torch.cat([places, torch.tensor(some).expand(len(numbers), -1)], 1).gather(1, order)
        progress("better captions", rows.stop, len(pool))
    return {
        number: _distinct(data, places[n].tolist(), best[n].tolist(), each)
        for n, number in enumerate(numbers)
    }


def _allowed(
    data: AuditedData, numbers: Sequence[int], captions: Sequence[int], scores: Float[Tensor, "image text"]
) -> Float[Tensor, "image text"]:
    """The scores, without those of captions of a picture's own identity."""
    owners = [data.identities[data.image_of[caption]] for caption in captions]
    own = [[data.identities[number] == owner for owner in owners] for number in numbers]
    return scores.masked_fill(torch.tensor(own), -torch.inf)


def _distinct(
    data: AuditedData, captions: Sequence[int], scores: Sequence[float], each: int
) -> list[Suggestion]:
    """The first ``each`` with different words."""
    found: dict[str, Suggestion] = {}
    for caption, score in zip(captions, scores, strict=True):
        if score > -float("inf"):
            found.setdefault(" ".join(data.texts[caption].lower().split()), Suggestion(caption, score))
    return list(found.values())[:each]
