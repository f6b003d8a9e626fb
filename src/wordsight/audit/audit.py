"""A matcher and a data set -> the whole audit: doubtful captions and words, suggestions, duplicates."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wordsight.audit.dataset import AuditedData
from wordsight.audit.doubts import AuditedCaption, AuditedWord, doubtful_captions, doubtful_words, weigh
from wordsight.audit.duplicates import Duplicate, Kind, duplicate_captions, duplicate_pictures
from wordsight.audit.evidence import Gatherer
from wordsight.audit.suggestions import Suggestion, suggest
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.presence.model import mean_units
from wordsight.runtime.progress import Progress, silent
from wordsight.sets import EmbeddingSet

TOP = 100
COLUMNS = (
    "finding", "split", "picture", "caption", "probability", "unsupported words", "suggestion", "other split",
    "other picture", "other caption",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Audit:
    """Everything that was found; captions and pictures are numbers of ``data``."""

    data: AuditedData
    captions: Sequence[AuditedCaption]  # the doubtful ones, the least likely first
    words: Sequence[tuple[AuditedCaption, AuditedWord]]
    suggestions: Mapping[int, Sequence[Suggestion]]  # by picture
    duplicates: Sequence[Duplicate]
    unlikely: int  # captions with less than even odds
    has_words: bool  # whether the model knows probabilities of words

    def to_dict(self) -> dict[str, Any]:
        data = self.data
        return {
            "pictures": len(data.names),
            "captions": len(data.texts),
            "captions_below_even_odds": self.unlikely,
            "doubtful_captions": [self._caption(one) for one in self.captions],
            "doubtful_words": [
                {**self._place(one), "word": word.text, "probability": word.probability}
                for one, word in self.words
            ],
            "duplicates": [
                dict(zip(COLUMNS, row, strict=True)) for row in map(self.duplicate_row, self.duplicates)
            ],
        }

    def _place(self, one: AuditedCaption) -> dict[str, Any]:
        data = self.data
        return {
            "split": data.split_of[one.picture],
            "picture": data.names[one.picture],
            "caption": data.texts[one.number],
        }

    def _caption(self, one: AuditedCaption) -> dict[str, Any]:
        others = [self.data.texts[n] for n in self.data.texts_of[one.picture] if n != one.number]
        return self._place(one) | {
            "probability": one.probability,
            "words": [word.to_dict() for word in one.words],
            "other_captions": others,
            "suggestions": self.suggested(one.picture),
        }

    def suggested(self, picture: int) -> list[str]:
        return [self.data.texts[one.caption] for one in self.suggestions.get(picture, ())]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """One row of COLUMNS per finding."""
        for one in self.captions:
            against = " ".join(word.text for word in one.words if word.unsupported)
            better = next(iter(self.suggested(one.picture)), "")
            yield (
                "caption",
                *self._place(one).values(),
                round(one.probability, 6),
                against,
                better,
                "",
                "",
                "",
            )
        for one, word in self.words:
            yield "word", *self._place(one).values(), round(word.probability, 6), word.text, "", "", "", ""
        yield from map(self.duplicate_row, self.duplicates)

    def duplicate_row(self, one: Duplicate) -> tuple[Any, ...]:
        data, ends = self.data, []
        for number in (one.first, one.second):
            picture = data.image_of[number] if one.kind is Kind.caption else number
            text = data.texts[number] if one.kind is Kind.caption else ""
            ends.append((data.split_of[picture], data.names[picture], text))
        return one.kind.value, *ends[0], "", "", "", *ends[1]

    def to_csv(self) -> str:
        """A table for a spreadsheet; an apostrophe precedes what a program would take for a formula."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_harmless(cell) for cell in row] for row in self.rows())
        return text.getvalue()

    def counts(self) -> dict[str, int]:
        """Duplicates of each kind, and how many of them are across splits."""
        found: Counter[str] = Counter()
        for one in self.duplicates:
            found[one.kind.value] += 1
            found[f"{one.kind.value} across splits"] += one.across
        return dict(found)


def percent(probability: float) -> str:
    """A probability for people."""
    return "< 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell


def audit(
    matcher: Matcher,
    data: AuditedData,
    *,
    top: int = TOP,
    duplicates: bool = True,
    progress: Progress = silent,
) -> Audit:
    """Audit all captions; ``top`` of them, and of their words, are named.

    Raises UnreadablePicture for a picture that cannot be read.
    """
    with inference(matcher):
        gatherer = Gatherer(matcher, data, progress)
        captions: list[AuditedCaption] = []
        encoded: list[EmbeddingSet] = []
        for split in data.splits:
            evidence = gatherer.gather(split)
            captions += weigh(data, gatherer.words, split, evidence)
            encoded.append(evidence.pictures)
        doubtful = doubtful_captions(captions, top)
        pictures = EmbeddingSet.join(encoded)
        chosen = {one.picture: pictures[[one.picture]] for one in doubtful}
        suggestions = suggest(matcher, data, chosen, progress)
        twice: list[Duplicate] = []
        if duplicates:
            means = torch.cat([mean_units(part) for part in encoded]).cpu()
            twice = duplicate_pictures(data, means, progress)
            twice += duplicate_captions(data, gatherer.words)
    return Audit(
        data=data,
        captions=doubtful,
        words=doubtful_words(captions, top),
        suggestions=suggestions,
        duplicates=twice,
        unlikely=sum(one.probability < 0.5 for one in captions),
        has_words=gatherer.rules is not None,
    )
