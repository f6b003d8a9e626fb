"""Parts from outside wordsight: entry points of installed packages, and code that a user trusts by address.

An address is "module:Class". An import runs its module, so only addresses inside ``trusting`` are imported:
those of a configuration that a user gives to train or compare, and those of a model that is opened with
``trust_remote_code``. Everything else in a model, an index or a configuration is data.
"""

import importlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from wordsight.registry.names import REGISTRY
from wordsight.registry.settings import TableError, quoted

_GROUPS = {kind: f"wordsight.{kind}" for kind in REGISTRY} | {"data": "wordsight.dataset"}  # of entry points
_ADDRESS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_log = logging.getLogger(__name__)


class UntrustedCodeError(TableError):
    """A model, an index or a configuration names code that nobody has allowed."""


_trusted: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())  # frozen


@contextmanager
def trusting(addresses: Iterable[str], source: str = "") -> Iterator[None]:
    """Inside the block these addresses may be imported, and no others.

    ``source``: the file that the tables are from; it stands before what is said of a table.
    """
    token = _trusted.set(frozenset(addresses))
    try:
        yield
    except TableError as error:
        error.message = f"{source}: {error.message}" if source else error.message
        raise
    finally:
        _trusted.reset(token)


def addresses_in(tables: Any) -> list[str]:
    """Every text in the tables, however deep, that has the form of an address."""
    if isinstance(tables, str):
        return [tables] if is_address(tables) else []
    if isinstance(tables, Mapping):
        tables = list(tables.values())
    return (
        [found for one in tables for found in addresses_in(one)] if isinstance(tables, list | tuple) else []
    )


def is_address(name: str) -> bool:
    """Whether a name has the form "module:Class"."""
    return _ADDRESS.fullmatch(name) is not None


def must_be_trusted(kind: str, address: str) -> None:
    """Raises UntrustedCodeError for an address that may not be imported; imports nothing."""
    if address in _trusted.get():
        return
    module = address.partition(":")[0]
    raise UntrustedCodeError(
        f"{kind} {quoted(address)} is code from outside wordsight, which is run only if you allow it",
        f"if you trust its author, --trust-remote-code (in Python trust_remote_code=True) imports {module}",
    )


def import_trusted(kind: str, address: str) -> Any:
    """The class or function at a trusted address; a module that is not imported yet is named in the log."""
    must_be_trusted(kind, address)
    module = address.partition(":")[0]
    if module not in sys.modules:
        _log.warning('importing %s, which runs its code, for %s "%s"', module, kind, address)
    return import_address(kind, address, address)


def import_address(kind: str, name: str, address: str) -> Any:
    """Import "module:Class"; a missing module or class is an InputError."""
    module, _, attribute = address.partition(":")
    try:
        return reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise TableError(f"{kind} {quoted(name)}: {quoted(address)} cannot be imported ({error})") from error
    except Exception as error:  # whatever a module of others does while it is imported
        problem = f"{type(error).__name__}: {error}"
        raise TableError(f"{kind} {quoted(name)}: {module} fails when it is imported ({problem})") from error


def installed(kind: str) -> dict[str, EntryPoint]:
    """The entry points of a kind, by name; a name with a colon would look like an address and is left out."""
    return {entry.name: entry for entry in entry_points(group=_GROUPS[kind]) if ":" not in entry.name}


def load_installed(kind: str, entry: EntryPoint) -> Any:
    """The class or function behind an entry point."""
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise TableError(
            f'{kind} "{entry.name}" of the package {_package(entry)} cannot be imported ({error})',
            "install that package again",
        ) from error


def installed_name(address: str) -> str | None:
    """The name of the entry point, of any kind, that leads to an address."""
    for kind in _GROUPS:
        for name, entry in installed(kind).items():
            if entry.value.replace(" ", "") == address:
                return name
    return None


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "of an unknown name"
