"""A published system: how its keys are recognized, our tables, and where its weights go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from wordsight.errors import InputError
from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.weight_map import Rule
from wordsight.read.text.vocabulary import Vocabulary

Tables: TypeAlias = dict[str, dict[str, Any]]  # of a matcher's parts, by kind


@dataclass(frozen=True)
class Given:
    """Files and options given with the checkpoint."""

    work: Path  # an empty folder for the time of the import
    vocabulary: Path | None = None
    bert: Path | None = None


@dataclass(frozen=True, eq=False)
class Description:
    """A checkpoint in our terms."""

    published: Published  # its weights as the rules of its system know them
    parts: Tables  # a table may be left empty where the checkpoint does not say
    vocabulary: Vocabulary | None = None
    notes: Sequence[str] = ()  # what the user should know


@dataclass(frozen=True)
class System:
    """One published code base."""

    name: str
    recognizes: Callable[[Published], bool]
    describe: Callable[[Published, Given], Description]
    rules: Sequence[Rule]


def chosen(published: Published, option: str, default: Any, known: Mapping[Any, Any]) -> Any:
    """Our name for an option's value; an unknown value is an error that lists the known."""
    value = published.option(option, default)
    if value not in known:
        raise InputError(
            f"{published.path} was trained with {option} = {value!r}, which is not known here; "
            f"known: {', '.join(map(str, known))}"
        )
    return known[value]


def positive(published: Published, option: str, default: float | None) -> float:
    """A temperature, or what one is divided by."""
    value = published.option(option, default)
    if not isinstance(value, int | float) or not value > 0:
        raise InputError(
            f"{published.path} was trained with {option} = {value!r}, where a number above 0 was expected"
        )
    return float(value)


def lengths(published: Published) -> dict[str, Any]:
    """The sides whose vectors are scaled to length 1 before the comparison."""
    return {
        "normalize_images": not published.option("no_imgnorm", False),
        "normalize_texts": not published.option("no_txtnorm", False),
    }
