"""Captions of all splits -> facts and findings: empty or repeated ones, shared images, unknown words."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from wordsight.pairs import PairSet
from wordsight.read.datasets.records import split_order
from wordsight.read.validate.report import Facts, Report, some

MANY_UNKNOWN = 0.05  # a vocabulary of the same data leaves 1 to 3 % of the words unknown
SAMPLE = 2000  # captions that tell which rule of parting words a vocabulary was made with
CONTAINED = ({"test", "testall"}, {"train", "trainval"})  # splits that share images by design


@dataclass(frozen=True)
class Texts:
    """The captions of one split, however they were stored."""

    split: str
    names: Sequence[str]  # one per image: what tells images apart
    texts: Sequence[str]
    image_of: Sequence[int]
    place: Callable[[int], str]  # where caption n stands
    features: str | None = None  # what the feature file holds
    boxes: str | None = None  # "pixels" or "fractions"


def texts_of_pairs(split: str, pairs: PairSet) -> Texts:
    """The captions of pairs, placed by the name of their picture."""
    image_of = pairs.image_of.tolist()
    return Texts(
        split=split,
        names=pairs.names,
        texts=pairs.texts,
        image_of=image_of,
        place=lambda text: pairs.names[image_of[text]],
    )


def check_texts(splits: Sequence[Texts], report: Report) -> None:
    """Check captions alone; findings go to the report."""
    splits = sorted(splits, key=lambda split: split_order(split.split))
    report.facts += [facts_of(split) for split in splits]
    for split in splits:
        _check_empty(split, report)
        _check_silent(split, report)
    pairs = [
        (one, other) for one, other in combinations(splits, 2) if {one.split, other.split} not in CONTAINED
    ]
    for one, other in pairs:
        _check_shared_images(one, other, report)
    _note_repeated(splits, report)
    _note_shared_texts(pairs, report)


def facts_of(split: Texts) -> Facts:
    per_image = Counter(split.image_of)
    counts = Counter(per_image[image] for image in range(len(split.names)))
    words = [len(text.split()) for text in split.texts] or [0]
    return Facts(
        split=split.split,
        images=len(split.names),
        texts=len(split.texts),
        texts_per_image=dict(sorted(counts.items())),
        words_per_text=(min(words), round(sum(words) / len(words), 2), max(words)),
        features=split.features,
        boxes=split.boxes,
    )


def check_unknown(splits: Sequence[Texts], vocabulary: Path, rule: str | None, report: Report) -> None:
    """Share of words that the vocabulary does not have; called after ``check_texts``.

    Without a ``rule`` of parting words, the one that leaves the fewest unknown is taken.
    """
    from wordsight.read.text.vocabulary import Vocabulary, count_words
    from wordsight.read.text.word_rules import RULES

    known = Vocabulary.load(vocabulary)
    texts = [text for split in splits for text in split.texts]
    sample = texts[:: len(texts) // SAMPLE + 1]
    rule = rule or min(RULES, key=lambda name: known.unknown_rate(sample, name))
    rates: dict[str, float] = {}
    missed: Counter[str] = Counter()
    for split in splits:
        counts = count_words(split.texts, rule)
        unknown = Counter({word: n for word, n in counts.items() if word not in known})
        rates[split.split] = unknown.total() / max(counts.total(), 1)
        missed += unknown
    report.facts = [replace(facts, unknown_words=rates[facts.split]) for facts in report.facts]
    high = max(rates.values(), default=0.0) > MANY_UNKNOWN
    report.add(
        "warning" if high else "note",
        "words that the vocabulary does not have: " + _rates(rates) + f" (parted by the rule {rule!r})",
        f"{vocabulary}; most often {', '.join(repr(word) for word, _ in missed.most_common(5)) or 'none'}",
        "use the vocabulary of this data set, or learn one: wordsight vocab build" if high else "nothing",
    )


def _rates(rates: dict[str, float]) -> str:
    return ", ".join(f"{rate:.1%} in {split}" for split, rate in rates.items())


def _check_empty(split: Texts, report: Report) -> None:
    empty = [n for n, text in enumerate(split.texts) if not text.strip()]
    if empty:
        report.add(
            "error",
            f"empty captions in {split.split}: {len(empty):,}",
            some([split.place(n) for n in empty]),
            "fill them in, or set drop_empty = true under [data] to leave them out",
        )


def _check_silent(split: Texts, report: Report) -> None:
    captioned = set(split.image_of)
    silent = [name for image, name in enumerate(split.names) if image not in captioned]
    if silent:
        report.add(
            "error",
            f"images of {split.split} without a caption: {len(silent):,}",
            some(silent),
            "write one for each, or set drop_empty = true under [data] to leave these images out",
        )


def _check_shared_images(one: Texts, other: Texts, report: Report) -> None:
    names = sorted(set(one.names) & set(other.names))
    if names:
        report.add(
            "error",
            f"images both in {one.split} and in {other.split}: {len(names):,}",
            some(names),
            "give every image to one split: numbers measured on pictures of the training are too good",
        )


def _note_repeated(splits: Sequence[Texts], report: Report) -> None:
    """One caption of several images has several right answers, of which measuring counts one."""
    counts: dict[str, int] = {}
    among: dict[str, int] = {}
    for split in splits:
        images: dict[str, set[int]] = defaultdict(set)
        for text, image in zip(split.texts, split.image_of, strict=False):
            images[_plain(text)].add(image)
        shared = {text: len(of) for text, of in images.items() if len(of) > 1 and text}
        counts[split.split] = len(shared)
        among |= {text: max(count, among.get(text, 0)) for text, count in shared.items()}
    if among:
        common = max(among, key=among.__getitem__)
        report.add(
            "note",
            f"captions that several images of a split share: {_counted(counts)}",
            f"most often {common!r}, of {among[common]} images",
            "nothing, if few: each counts as wrong for the other's caption, so recall is a little low",
        )


def _note_shared_texts(pairs: Sequence[tuple[Texts, Texts]], report: Report) -> None:
    counts: dict[str, int] = {}
    texts: set[str] = set()
    for one, other in pairs:
        shared = {_plain(text) for text in one.texts} & {_plain(text) for text in other.texts} - {""}
        counts[f"{one.split} and {other.split}"] = len(shared)
        texts |= shared
    if texts:
        report.add(
            "note",
            f"captions that are word for word in two splits: {_counted(counts)}",
            "the longest: " + some([repr(text) for text in sorted(texts, key=len, reverse=True)], 2),
            "nothing, if they are short and general; long ones hint at one image in both",
        )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} in {name}" for name, count in counts.items() if count)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
