"""How many planted faults an audit names: captions moved to other pictures, and words that are replaced.

``python benchmarks/audit.py MODEL DATA [--pictures F] [--features STORE] [--splits test] [--planted 200]``
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wordsight.audit.audit import audit
from wordsight.audit.dataset import AuditedData
from wordsight.pairs import PairSet
from wordsight.read.datasets.detect_format import open_dataset
from wordsight.runs.opening import open_matcher

NOUNS = """
dog man woman boy girl child snow water beach grass ball car bike street tree field horse bicycle mountain
rock park shirt hat pool ocean sand road building bench frisbee jacket table guitar camera swing slide
""".split()  # noqa: SIM905


def with_moved_captions(pairs: PairSet, rows: Sequence[int]) -> PairSet:
    """Each of these captions belongs to the picture of the one before it."""
    image_of = pairs.image_of.clone()
    image_of[list(rows)] = pairs.image_of[[*rows[1:], rows[0]]]
    return replace(pairs, image_of=image_of)


def with_replaced_words(
    pairs: PairSet, rows: Sequence[int], chance: random.Random
) -> tuple[PairSet, set[tuple[int, str]]]:
    """One noun of each of these captions, if it has one, becomes another one."""
    texts, planted = list(pairs.texts), set()
    for row in rows:
        words = texts[row].split()
        places = [place for place, word in enumerate(words) if word.lower() in NOUNS]
        if places:
            new = chance.choice([noun for noun in NOUNS if noun not in words])
            words[chance.choice(places)] = new
            texts[row] = " ".join(words)
            planted.add((row, new))
    return replace(pairs, texts=texts), planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--splits", default="test")
    parser.add_argument("--planted", type=int, default=200)
    given = parser.parse_args()
    dataset = open_dataset(given.data, pictures=given.pictures)
    data = AuditedData.read(dataset, given.splits.split(","), given.features)
    matcher, chance, top = open_matcher(given.model), random.Random(0), 2 * given.planted
    plain = [(one.name, one.pairs) for one in data.splits]
    share = {name: round(given.planted * len(pairs) / len(data.texts)) for name, pairs in plain}
    rows = {name: chance.sample(range(len(pairs)), share[name]) for name, pairs in plain}

    moved = AuditedData.of([(name, with_moved_captions(pairs, rows[name])) for name, pairs in plain])
    planted = {one.first_text + row for one in moved.splits for row in rows[one.name]}
    named = [one.number for one in audit(matcher, moved, top=5 * given.planted, duplicates=False).captions]
    for most in (given.planted, top, 5 * given.planted):
        print(f"moved captions among the first {most}: {len(planted & set(named[:most]))} of {len(planted)}")

    changed = {name: with_replaced_words(pairs, rows[name], chance) for name, pairs in plain}
    replaced = AuditedData.of([(name, pairs) for name, (pairs, _) in changed.items()])
    wrong = {(one.first_text + row, new) for one in replaced.splits for row, new in changed[one.name][1]}
    found = audit(matcher, replaced, top=top, duplicates=False)
    words = {(one.number, word.text) for one, word in found.words}
    captions = {one.number for one in found.captions}
    print(f"replaced words among the first {top} words: {len(wrong & words)} of {len(wrong)}")
    print(f"and their captions among the first {top}: {sum(row in captions for row, _ in wrong)}")


if __name__ == "__main__":
    main()
