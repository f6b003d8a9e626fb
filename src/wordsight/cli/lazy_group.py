"""Verbs and the modules behind them -> a group of commands that imports a module when its verb is used."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group


class Verb(NamedTuple):
    """A verb before its module is loaded: the module's name, and one line of help."""

    module: str
    summary: str


class LazyCommands(MutableMapping[str, Any]):
    """A command by its verb; the module that registers it is imported at the first use of the verb.

    ``modules`` holds the module of each verb; its ``register(app)`` adds one or more commands.
    """

    def __init__(self, modules: Mapping[str, str], **settings: Any) -> None:
        self._modules, self._settings = dict(modules), settings
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, verb: str) -> Any:
        if verb not in self._loaded:
            app = typer.Typer(**self._settings)
            import_module(self._modules[verb]).register(app)
            self._loaded |= {
                name: one for name, one in get_group(app).commands.items() if name in self._modules
            }
        return self._loaded[verb]

    def __setitem__(self, verb: str, command: Any) -> None:
        self._modules.setdefault(verb, "")
        self._loaded[verb] = command

    def __delitem__(self, verb: str) -> None:
        del self._modules[verb]
        self._loaded.pop(verb, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def lazy_group(verbs: Mapping[str, Verb], *, package: str, **settings: Any) -> type[TyperGroup]:
    """A class of group for ``typer.Typer(cls=...)``, whose help lists the summaries and loads no verb.

    ``package`` holds the modules of the verbs; ``settings`` are those of the Typer of each module.
    """
    modules = {name: f"{package}.{verb.module}" for name, verb in verbs.items()}

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes | {"commands": None})
            self.commands = LazyCommands(modules, **settings)

        def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
            with formatter.section("Commands"):
                formatter.write_dl([(name, verb.summary) for name, verb in verbs.items()])

    return LazyGroup
