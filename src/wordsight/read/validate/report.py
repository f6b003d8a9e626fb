"""Result of a check: facts about every split, and findings with their place and remedy."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
WIDTH = 100  # columns of the text report


@dataclass(frozen=True)
class Finding:
    """One thing to know: errors stop work, warnings may spoil numbers, notes explain."""

    severity: Severity
    what: str
    where: str
    todo: str


@dataclass(frozen=True)
class Facts:
    """Counts of one split."""

    split: str
    images: int
    texts: int
    texts_per_image: dict[int, int]  # how many images have so many texts
    words_per_text: tuple[int, float, int]  # fewest, mean, most; parted at spaces
    features: str | None = None  # shape, type and size of the feature file
    boxes: str | None = None  # "fractions" or "pixels"
    unknown_words: float | None = None  # share of words that the vocabulary does not have


@dataclass
class Report:
    """The outcome of a check."""

    path: Path
    kind: str
    facts: list[Facts] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True without errors."""
        return not self._of("error")

    def add(self, severity: Severity, what: str, where: str, todo: str) -> None:
        self.findings.append(Finding(severity, what, where, todo))

    def add_error(self, error: Exception, where: str) -> None:
        """A reader's error, which says what is wrong and, behind a semicolon, what to do."""
        what, _, todo = str(error).partition("; ")
        self.add("error", what, where, todo or "Fix this first; later checks were skipped.")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "ok": self.ok,
            "splits": [asdict(facts) for facts in self.facts],
            "findings": [asdict(finding) for severity in SEVERITIES for finding in self._of(severity)],
        }

    def to_text(self) -> str:
        """For people: a table of the splits, then the findings, errors first."""
        found = [_finding_lines(finding) for severity in SEVERITIES for finding in self._of(severity)]
        counts = Counter(finding.severity for finding in self.findings)
        verdict = ", ".join(f"{severity}s: {counts[severity]}" for severity in SEVERITIES)
        parts = [f"{self.path}: {self.kind}", _table(self.facts), *found, verdict]
        return "\n\n".join(part for part in parts if part)

    def _of(self, severity: Severity) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == severity]


def some(values: Sequence[object], most: int = 3) -> str:
    """The first few, and how many more there are."""
    listed = ", ".join(str(value) for value in values[:most])
    return listed if len(values) <= most else f"{listed} and {len(values) - most:,} more"


def _finding_lines(finding: Finding) -> str:
    lines = []
    for label, text in ((finding.severity, finding.what), ("where", finding.where), ("do", finding.todo)):
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"{label:>8}  ",
            subsequent_indent=" " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _table(facts: Sequence[Facts]) -> str:
    if not facts:
        return ""
    titles = ("split", "images", "captions", "per image", "words each", "unknown words", "features", "boxes")
    rows = [titles, *map(_cells, facts)]
    shown = [n for n in range(len(titles)) if n < 5 or any(row[n] for row in rows[1:])]
    widths = [max(len(row[n]) for row in rows) for n in shown]
    return "\n".join(
        "  ".join(f"{row[n]:<{width}}" for n, width in zip(shown, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(facts: Facts) -> tuple[str, ...]:
    counts = sorted(facts.texts_per_image)
    mean = facts.texts / max(facts.images, 1)
    per_image = (
        f"{counts[0]} to {counts[-1]}, mean {mean:.2f}" if len(counts) > 1 else "".join(map(str, counts))
    )
    fewest, mean_words, most = facts.words_per_text
    return (
        facts.split,
        f"{facts.images:,}",
        f"{facts.texts:,}",
        per_image,
        f"{fewest} to {most}, mean {mean_words:.1f}" if facts.texts else "",
        "" if facts.unknown_words is None else f"{facts.unknown_words:.1%}",
        facts.features or "",
        facts.boxes or "",
    )
