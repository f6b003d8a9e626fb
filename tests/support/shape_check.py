"""The run-time check of shapes that every call of the package passes in the tests.

Functions whose signatures name shapes are checked, with all their other types; the rest are left to mypy,
since the check takes longer than what most of them do.
"""

import inspect
import re
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # where a float is asked for, an int will do
_SHAPED = re.compile(r"\w\[(Tensor|np\.ndarray)\b")  # in an annotation that is still a string
_jaxtyped = jaxtyping.jaxtyped


def check_shapes() -> None:
    """Install the check; before the package is imported."""
    jaxtyping.jaxtyped = _jaxtyped_where_shaped  # what the import hook decorates every function with
    jaxtyping.install_import_hook("wordsight", f"{__name__}.checked")


def _jaxtyped_where_shaped(*, typechecker: Any) -> Any:
    def decorate(function: Any) -> Any:
        inner = getattr(function, "fget", None) or getattr(function, "__func__", function)
        annotations = inspect.get_annotations(inner)
        shaped = any(_names_shape(annotation) for annotation in annotations.values())
        return _jaxtyped(function, typechecker=typechecker) if shaped else function

    return decorate


def _names_shape(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return bool(_SHAPED.search(annotation))
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(_names_shape(part) for part in get_args(annotation))
