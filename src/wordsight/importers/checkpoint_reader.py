"""A checkpoint of one of the published code bases in; its weights by name, its options and its facts out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from wordsight.errors import InputError
from wordsight.importers.safe_torch_load import read_torch_file

# The VSE family saves a list of state dicts; how many there are says what they are.
STATES = {
    2: ("img", "txt"),  # VSE++, SCAN, VSE-infinity
    3: ("img", "txt", "head"),  # CASC
    4: ("img", "txt", "sim", "criterion"),  # CHAN
}
FACTS = ("epoch", "best_rsum", "Eiters")
NETWORK, AVERAGE = (
    "network",
    "network_ema",
)  # of the PyTorch port of CMPL: last weights, their running average


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor, and what it was called in the file."""

    source: str
    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Published:
    """Content of a checkpoint; its names without the ``module.`` that DataParallel puts into them."""

    path: Path
    weights: Mapping[str, Weight]  # "img.fc.weight", "txt.rnn.weight_ih_l0", ...
    options: Mapping[str, Any] | None  # the command line that trained it, where the file says it
    facts: Mapping[str, Any] = field(default_factory=dict)

    def weight(self, name: str, axes: int) -> Weight:
        """A weight; one that is not there, or has not so many axes, is an error that says so."""
        if name not in self.weights:
            raise InputError(f"{self.path} has no {name}: it is cut short, or of another system")
        weight = self.weights[name]
        if weight.tensor.dim() != axes:
            raise InputError(
                f"{self.path}: {weight.source} has the shape {tuple(weight.tensor.shape)}, where {axes} axes "
                "were expected: it is damaged, or of another system"
            )
        return weight

    def size(self, name: str, axes: int) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.weight(name, axes).tensor.shape)

    def has(self, start: str) -> bool:
        """Whether any weight's name starts so."""
        return any(name.startswith(start) for name in self.weights)

    def option(self, name: str, default: Any) -> Any:
        """The value of an option, or the published default of versions that did not have the option yet."""
        return (self.options or {}).get(name, default)

    def with_weights(self, weights: Mapping[str, Weight]) -> "Published":
        return replace(self, weights=weights)


def read_published(path: str | Path, average: bool | None = None) -> Published:
    """Read a checkpoint; raises ValueError for one that none of the published code bases writes.

    ``average``: whether to take the running average of the weights instead of the last ones. By default it
    is taken where the file holds one, as the test.py of CMPL's PyTorch port does.
    """
    path = Path(path).expanduser()
    content = read_torch_file(path)
    holder = content if isinstance(content, Mapping) else {"model": content}
    weights: dict[str, Weight] = {}
    for state, start in _states(holder, path):
        for name, weight in _named(state, start):
            _must_be_new(name, weight, weights, path)
            weights[name] = weight
    facts = {name: holder[name] for name in FACTS if name in holder}
    averaged = _averaged(holder, average, path)
    if AVERAGE in holder:
        facts["weights_from"] = AVERAGE if averaged else NETWORK
    weights |= averaged
    if isinstance(holder.get("W"), Tensor):  # CMPC's classes, which the port keeps outside of its network
        weights["W"] = Weight("W", holder["W"])
    options = holder.get("opt")
    return Published(path, weights, options if isinstance(options, Mapping) else None, facts)


def _states(holder: Mapping[Any, Any], path: Path) -> list[tuple[Mapping[str, Any], str]]:
    """The state dicts of the file, each with the word that its names get in front."""
    states = holder.get("model")
    if isinstance(states, list) and len(states) in STATES and all(map(_is_state, states)):
        return list(zip(states, (f"{name}." for name in STATES[len(states)]), strict=True))
    if _is_state(holder.get(NETWORK)):
        return [(holder[NETWORK], "")]
    found = ", ".join(map(str, list(holder)[:8])) or "nothing"
    raise InputError(
        f"{path} is none of the published checkpoints: expected a list of 2 to 4 state dicts under model "
        f"(VSE++, SCAN, VSE-infinity, CASC, CHAN) or one under network (the PyTorch port of CMPL); "
        f"found {found}"
    )


def _averaged(holder: Mapping[Any, Any], wanted: bool | None, path: Path) -> dict[str, Weight]:
    """The averaged weights, which replace the last ones; what is not trained has no average."""
    average: Any = holder.get(AVERAGE)
    if wanted and not _is_state(average):
        raise InputError(f"{path} holds no running average of its weights ({AVERAGE}); leave --ema out")
    if wanted is False or not _is_state(average):
        return {}
    return {
        name: Weight(f"{AVERAGE}: {weight.source}", weight.tensor) for name, weight in _named(average, "")
    }


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(tensor, Tensor) for tensor in value.values())


def _named(state: Mapping[str, Tensor], start: str) -> list[tuple[str, Weight]]:
    return [(start + _bare(name), Weight(start + name, tensor)) for name, tensor in state.items()]


def _must_be_new(name: str, weight: Weight, weights: Mapping[str, Weight], path: Path) -> None:
    if name in weights:
        raise InputError(
            f"{path} holds {weights[name].source} and {weight.source}, which are one weight but for the "
            "module. of DataParallel: which of them is the model's is not known"
        )


def _bare(name: str) -> str:
    return name.removeprefix("module.").replace(".module.", ".")
