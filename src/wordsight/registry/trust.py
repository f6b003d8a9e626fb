"""Parts by address: code from outside wordsight that a user trusts.

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
from typing import Any

from wordsight.errors import is_for_training
from wordsight.registry.settings import TableError, quoted

_ADDRESS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_log = logging.getLogger(__name__)
_outside: set[str] = set()  # modules of others that were imported for a part


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
    _outside.add(module)
    if module not in sys.modules:
        _log.warning('importing %s, which runs its code, for %s "%s"', module, kind, address)
    return import_address(kind, address, address)


def note_import(module: str) -> None:
    """Remember that an installed package's module holds a part."""
    _outside.add(module)


def place_outside(error: BaseException) -> str:
    """The innermost line of a part of others that an exception came through; empty if there is none."""
    found, step = "", error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") in _outside:
            code = step.tb_frame.f_code
            found = f"{code.co_filename}, line {step.tb_lineno}, in {code.co_name}"
        step = step.tb_next
    return found


def import_address(kind: str, name: str, address: str) -> Any:
    """Import "module:Class"; a missing module or class is an InputError, but for torch and its like."""
    module, _, attribute = address.partition(":")
    try:
        return reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        if is_for_training(error):
            raise
        raise TableError(f"{kind} {quoted(name)}: {quoted(address)} cannot be imported ({error})") from error
    except Exception as error:  # whatever a module of others does while it is imported
        problem = f"{type(error).__name__}: {error}"
        raise TableError(f"{kind} {quoted(name)}: {module} fails when it is imported ({problem})") from error
