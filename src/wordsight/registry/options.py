"""A dataclass of options -> a part that takes each of them as a setting of its own."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Options = TypeVar("Options")
Part = TypeVar("Part")


def takes(
    options: Callable[P, Options],
) -> Callable[[Callable[[Part, Options], None]], Callable[Concatenate[Part, P], None]]:
    """Let ``__init__(self, options)`` be called with the fields of its options: ``Encoder(dim=8, layers=2)``.

    The part stores what it was built from as ``self.options``; tables, saved models and ``describe`` see the
    fields as settings of the part.
    """

    def decorate(init: Callable[[Part, Options], None]) -> Callable[Concatenate[Part, P], None]:
        @wraps(init)
        def build(self: Part, /, *args: P.args, **settings: P.kwargs) -> None:
            init(self, options(*args, **settings))

        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        fields = inspect.signature(options).parameters.values()
        shown: Any = build
        shown.__signature__ = inspect.Signature(
            [first, *(field.replace(kind=field.POSITIONAL_OR_KEYWORD) for field in fields)]
        )
        return build

    return decorate


def setting_value(part: Any, key: str) -> Any:
    """The value of a part's setting: an attribute of the part, or a field of its options."""
    return getattr(part, key) if hasattr(part, key) else getattr(part.options, key)
