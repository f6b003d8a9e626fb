"""Person-search annotations of all splits -> findings: how many persons, and persons in several splits."""

from collections import defaultdict
from collections.abc import Sequence

from wordsight.read.datasets.records import Captioned, split_order
from wordsight.read.validate.report import Report, some


def check_persons(items: Sequence[Captioned], report: Report) -> None:
    """Check identities alone; findings go to the report."""
    splits: dict[str, set[str]] = defaultdict(set)  # of each person
    persons: dict[str, set[str]] = defaultdict(set)  # of each split
    for item in items:
        person, split = str(item.identity), item.split or "all"
        splits[person].add(split)
        persons[split].add(person)
    counts = [f"{len(persons[split]):,} in {split}" for split in sorted(persons, key=split_order)]
    report.add("note", f"persons: {', '.join(counts)}", str(report.path), "nothing")
    leaking = [person for person, there in splits.items() if len(there) > 1]
    if leaking:
        report.add(
            "error",
            f"persons in several splits: {len(leaking):,}",
            some([f"{person} ({', '.join(sorted(splits[person], key=split_order))})" for person in leaking]),
            "keep each in one split: numbers measured on persons of the training are too good",
        )
