"""Facts in sections -> the report of ``wordsight doctor``, as text and as JSON."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How much a fact matters."""

    ok = "ok"
    note = "note"  # works, but not at its best
    problem = "problem"  # something does not work


MARKS = {State.ok: " ", State.note: "-", State.problem: "!"}


@dataclass(frozen=True)
class Fact:
    """One property of the machine; ``advice`` is the next step for a note or a problem."""

    name: str
    value: Any  # JSON: a text, a number, a boolean or a list of texts
    state: State = State.ok
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        own = {"name": self.name, "value": self.value, "state": self.state.value}
        return own | ({"advice": self.advice} if self.advice else {})

    def to_text(self) -> str:
        values = self.value if isinstance(self.value, list | tuple) else [self.value]
        shown = ", ".join(map(_plain, values)) or "none"
        advice = f" ({self.advice})" if self.advice else ""
        return f"{MARKS[self.state]} {self.name}: {shown}{advice}"


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Section:
    """Facts of one subject."""

    name: str
    facts: Sequence[Fact]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "facts": [fact.to_dict() for fact in self.facts]}

    def to_text(self) -> str:
        return "\n".join([self.name, *(f"  {fact.to_text()}" for fact in self.facts)])


@dataclass(frozen=True)
class Report:
    """All sections of one examination."""

    sections: Sequence[Section]

    @property
    def problems(self) -> list[Fact]:
        return [fact for one in self.sections for fact in one.facts if fact.state is State.problem]

    def to_dict(self) -> dict[str, Any]:
        return {"problems": len(self.problems), "sections": [one.to_dict() for one in self.sections]}

    def to_text(self) -> str:
        return "\n\n".join(section.to_text() for section in self.sections)


def section(name: str, read: Callable[[], Iterable[Fact]]) -> Section:
    """The facts that ``read`` yields; an exception ends the section with a problem instead of the report."""
    facts: list[Fact] = []
    try:
        facts.extend(read())
    except Exception as error:  # a broken package fails in any way, and the other sections still count
        facts.append(Fact("failed", f"{type(error).__name__}: {error}"[:300], State.problem))
    return Section(name, facts)
