"""Objects of installed packages by entry-point group: evaluation protocols, importers of checkpoints."""

from importlib.metadata import entry_points
from typing import TypeVar

from wordsight.errors import InputError

Object = TypeVar("Object")


def installed_names(group: str) -> list[str]:
    """The names of a group's entry points; nothing is imported."""
    return sorted(entry.name for entry in entry_points(group=group))


def installed_object(group: str, name: str, kind: type[Object]) -> Object | None:
    """The object behind an entry point, or None if no installed package has that name.

    Raises InputError for an entry point that cannot be imported or is not of the ``kind``.
    """
    for entry in entry_points(group=group, name=name):
        try:
            found = entry.load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f'{group} "{name}" cannot be imported ({error})', "install its package again"
            ) from error
        if not isinstance(found, kind):
            raise InputError(f'{group} "{name}" is a {type(found).__name__}; expected a {kind.__name__}')
        return found
    return None
