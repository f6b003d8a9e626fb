"""How often a model prefers a caption to one that was made wrong on purpose, by kind, with intervals.

``accuracy``   one picture, two captions: the right one scores higher (SugarCrepe, ARO)
``text``       two pictures, two captions: each picture scores higher with its own caption (Winoground)
``image``      each caption scores higher with its own picture
``group``      both

A tie counts as wrong. Chance is 50 %, and 25, 25, 16.7 % of Winoground's three. The intervals are Wilson's,
at 95 %: they hold for the choices, not for other seeds of a training.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.evaluation.encode import batches
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.read.annotations.hard_negatives import CaptionChoice
from wordsight.runtime.progress import Progress, silent
from wordsight.tensors import Tensor, torch

CHANCE = {"accuracy": 1 / 2, "text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
ALL = "all"
_Z = 1.959964  # of a normal distribution, for 95 %


@dataclass(frozen=True)
class Share:
    """A share of choices, and the interval it lies in; all in [0, 1]."""

    share: float
    low: float
    high: float
    choices: int

    @classmethod
    def of(cls, right: int, choices: int) -> "Share":
        """Wilson's interval of a proportion (Wilson, 1927)."""
        share, z2 = right / choices, _Z**2 / choices
        middle = (share + z2 / 2) / (1 + z2)
        half = _Z / (1 + z2) * math.sqrt(share * (1 - share) / choices + z2 / (4 * choices))
        return cls(share, max(middle - half, 0.0), min(middle + half, 1.0), choices)


@dataclass(frozen=True)
class HardNegatives:
    """Shares by kind of negative and by measure; the kind ``all`` holds all of them."""

    kinds: dict[str, dict[str, Share]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; shares in percent."""
        return {
            kind: {
                name: {
                    "value": 100 * one.share,
                    "interval": [100 * one.low, 100 * one.high],
                    "chance": 100 * CHANCE[name],
                    "choices": one.choices,
                }
                for name, one in shares.items()
            }
            for kind, shares in self.kinds.items()
        }

    def to_text(self) -> str:
        width = max(map(len, self.kinds))
        head = (
            f"{'kind':<{width}}  {'measure':<8}  {'choices':>7}  {'right':>6}  {'95 % interval':>14}  chance"
        )
        rows = [
            f"{kind:<{width}}  {name:<8}  {one.choices:>7}  {100 * one.share:>6.1f}  "
            f"{100 * one.low:>6.1f} .. {100 * one.high:<5.1f} {100 * CHANCE[name]:>6.1f}"
            for kind, shares in self.kinds.items()
            for name, one in shares.items()
        ]
        return "\n".join([head, *rows])


def hard_negative_accuracy(
    matcher: Matcher,
    choices: Sequence[CaptionChoice],
    batch_size: int = 32,
    progress: Progress = silent,
) -> HardNegatives:
    """Measure which captions a model prefers. ``progress`` is called after each batch.

    Raises InputError without any choices.
    """
    if not choices:
        raise InputError("there are no captions with hard negatives to measure")
    counts: dict[tuple[str, str], list[bool]] = {}
    with inference(matcher):
        for rows in batches(len(choices), batch_size):
            chosen = [choices[row] for row in rows]
            for choice, scores in zip(chosen, _scores(matcher, chosen), strict=True):
                for name, right in _judged(scores):
                    counts.setdefault((choice.kind, name), []).append(right)
                    counts.setdefault((ALL, name), []).append(right)
            progress("captions with hard negatives", rows.stop, len(choices))
    return HardNegatives(_by_kind(counts))


def _by_kind(counts: dict[tuple[str, str], list[bool]]) -> dict[str, dict[str, Share]]:
    """In the order of the names, ``all`` last; left out where there is one kind."""
    kinds = sorted({kind for kind, _ in counts} - {ALL})
    return {
        kind: {name: Share.of(sum(right), len(right)) for (of, name), right in counts.items() if of == kind}
        for kind in [*kinds, *([ALL] if len(kinds) > 1 else [])]
    }


def _scores(matcher: Matcher, choices: Sequence[CaptionChoice]) -> Iterator[Float[Tensor, "picture caption"]]:
    """For each choice, its pictures compared with its captions."""
    pictures = [picture.open() for choice in choices for picture in choice.pictures]
    captions = [caption for choice in choices for caption in choice.captions]
    scores = matcher.similarity(matcher.encode_images(pictures), matcher.encode_texts(captions))
    row = column = 0
    for choice in choices:
        rows, columns = len(choice.pictures), len(choice.captions)
        yield scores[row : row + rows, column : column + columns]
        row, column = row + rows, column + columns


def _judged(scores: Float[Tensor, "picture caption"]) -> Iterable[tuple[str, bool]]:
    own = scores.diagonal()
    if len(scores) == 1:
        return [("accuracy", bool((own > scores[0, 1:]).all()))]
    others = scores.clone().fill_diagonal_(-torch.inf)
    text, image = bool((own > others.amax(1)).all()), bool((own > others.amax(0)).all())
    return [("text", text), ("image", image), ("group", text and image)]
