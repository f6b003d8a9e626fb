"""Entry points of installed packages: parts, evaluation protocols and importers of checkpoints, by group."""

from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from wordsight.errors import InputError
from wordsight.registry import trust
from wordsight.registry.names import REGISTRY
from wordsight.registry.settings import TableError

Object = TypeVar("Object")
GROUPS = {kind: f"wordsight.{kind}" for kind in (*REGISTRY, "protocol", "importer")}
GROUPS["data"] = "wordsight.dataset"


def installed(kind: str) -> dict[str, EntryPoint]:
    """The entry points of a kind, sorted by name; nothing is imported.

    A name with a colon is left out: it would look like the address of a class.
    """
    entries = sorted(metadata.entry_points(group=GROUPS[kind]), key=lambda entry: entry.name)
    return {entry.name: entry for entry in entries if ":" not in entry.name}


def load(kind: str, entry: EntryPoint) -> Any:
    """The object behind an entry point. Raises TableError if its package cannot be imported."""
    trust.note_import(entry.module)
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        package = entry.dist.name if entry.dist is not None else "of an unknown name"
        raise TableError(
            f'{kind} "{entry.name}" of the package {package} cannot be imported ({error})',
            "install that package again",
        ) from error


def installed_object(kind: str, name: str, base: type[Object]) -> Object | None:
    """The object of this name, or None if no installed package has one.

    Raises InputError for an object that is no instance of ``base``.
    """
    entry = installed(kind).get(name)
    if entry is None:
        return None
    found = load(kind, entry)
    if not isinstance(found, base):
        raise InputError(f'{kind} "{name}" is a {type(found).__name__}; expected a {base.__name__}')
    return found


def installed_name(address: str) -> str | None:
    """The name of the entry point of a part, of any kind, that leads to an address."""
    for kind in REGISTRY:
        for name, entry in installed(kind).items():
            if entry.value.replace(" ", "") == address:
                return name
    return None
