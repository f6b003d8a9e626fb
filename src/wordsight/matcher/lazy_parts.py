"""A module some of whose parts are built when they are first used, by whichever thread that is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import RLock
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Unbuilt:
    """A part that ``build`` makes when it is first used."""

    build: Callable[[], Any]


class LazyParts(nn.Module):
    """An attribute that is set to an ``Unbuilt`` part builds it at its first use.

    What goes through all weights (``parameters``, ``state_dict``, a copy) builds the modules among the parts;
    ``train``, ``eval`` and ``to`` do not: a part gets the mode, the device and the type when it is built.
    """

    not_modules: ClassVar[frozenset[str]] = frozenset()  # parts that are not among the weights

    def __init__(self) -> None:
        super().__init__()
        self._unbuilt: dict[str, Unbuilt] = {}
        self._conversions: list[Callable[[Tensor], Tensor]] = []  # of weights, for the parts to come
        self._building = RLock()

    def is_built(self, name: str) -> bool:
        return name not in self._unbuilt

    def is_complete(self) -> bool:
        """Whether every part is built."""
        return not self._unbuilt

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_unbuilt", ()):
            self._build_now(name)
            return getattr(self, name)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Unbuilt):
            if name not in self.not_modules:
                self.register_module(name, None)  # its place among the modules
            self._unbuilt[name] = value
            return
        if name in self.not_modules:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
        self.__dict__.get("_unbuilt", {}).pop(name, None)

    def _build_now(self, name: str) -> None:
        """Build a part once; one that cannot be built raises, and the next use tries again."""
        with self._building:
            if name in self._unbuilt:  # or another thread has built it meanwhile
                with torch.inference_mode(False):  # its weights must be trainable, whoever needs it first
                    part = self._finished(name, self._unbuilt[name].build())
                setattr(self, name, part)

    def _finished(self, name: str, part: Any) -> Any:  # noqa: ARG002
        """A part that was just built, in the mode and on the device of the others."""
        if not isinstance(part, nn.Module):
            return part
        for convert in self._conversions:
            part._apply(convert)  # type: ignore[no-untyped-call]
        return part.train(self.training)

    def build_all(self) -> None:
        """Build every part now; raises what its first use would raise."""
        for name in list(self._unbuilt):
            self._build_now(name)

    def _build_modules(self) -> None:
        for name in self._modules:
            if name in self._unbuilt:
                self._build_now(name)

    def train(self, mode: bool = True) -> Any:
        """Set the mode of the parts that are built, and of the others once they are."""
        with self._building:
            self.training = mode
            for part in self._modules.values():
                if part is not None:
                    part.train(mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:  # noqa: ARG002
        """Convert the weights that are there, and those of the other parts once they are built."""
        with self._building:
            if self._unbuilt:
                self._conversions.append(fn)
            for part in self._modules.values():
                if part is not None:
                    part._apply(fn)  # type: ignore[no-untyped-call]
        return self

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        self._build_modules()
        return super().named_children()

    def named_modules(self, *arguments: Any, **options: Any) -> Any:
        self._build_modules()
        return super().named_modules(*arguments, **options)

    def _save_to_state_dict(self, *arguments: Any, **options: Any) -> None:
        self._build_modules()
        super()._save_to_state_dict(*arguments, **options)

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        self._build_modules()
        super()._load_from_state_dict(*arguments, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Everything is built: a copy needs no files."""
        self.build_all()
        return {**self.__dict__, "_building": None, "_conversions": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_building": RLock()})  # type: ignore[no-untyped-call]
