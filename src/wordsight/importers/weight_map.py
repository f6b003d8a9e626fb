"""Published weights and rules in; a state dict of ours out, and an account of every name on either side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from wordsight.errors import InputError
from wordsight.importers.checkpoint_reader import Published

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Rule:
    """Names that start so become names that start otherwise, or are left out for a reason."""

    start: str
    target: str | None  # None: unused
    reason: str = ""  # why it is unused


@dataclass(frozen=True)
class Line:
    """Where one weight went."""

    source: str
    target: str | None
    shape: tuple[int, ...]
    reason: str = ""

    @property
    def is_made(self) -> bool:
        """Whether it is in no file, but follows from what the published code does."""
        return self.source.startswith("(")

    def to_dict(self) -> dict[str, Any]:
        row = {"from": self.source, "to": self.target, "shape": list(self.shape), "reason": self.reason}
        return {key: value for key, value in row.items() if value not in (None, "")}

    def to_text(self) -> str:
        shape = " x ".join(map(str, self.shape)) or "a number"
        return f"{self.source} -> {self.target or 'unused'} ({shape})" + (self.reason and f": {self.reason}")


def carry_over(
    published: Published, rules: Sequence[Rule], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[Line]]:
    """The weights under our names. What has no home, no source or another shape is an error that names it."""
    state: dict[str, Tensor] = {}
    lines, homeless = [], []
    for name, weight in published.weights.items():
        target, reason = _target(name, rules, own)
        if target not in own if target is not None else not reason:
            homeless.append(weight.source)
            continue
        if target is not None:
            state[target] = _as_here(weight.tensor, own[target])
        lines.append(Line(weight.source, target, tuple(weight.tensor.shape), reason))
    # Versions of PyTorch before 0.4.1 do not count batches, and nothing reads the count.
    counted = {name: own[name] for name in own if name.endswith(COUNTER) and name not in state}
    lines += [Line("(none)", name, (), "not in the file; the count is read by nothing") for name in counted]
    _check(published, homeless, state | counted, own)
    return state | counted, lines


def _as_here(tensor: Tensor, own: Tensor) -> Tensor:
    """Cast to our type; a single number was a row of one before PyTorch 0.4."""
    single = tensor.numel() == own.numel() == 1
    return (tensor.reshape(own.shape) if single else tensor).to(own.dtype)


def _target(name: str, rules: Sequence[Rule], own: Mapping[str, Tensor]) -> tuple[str | None, str]:
    """Where a weight goes, or why nowhere; the longest start that fits decides."""
    fitting = [rule for rule in rules if name.startswith(rule.start)]
    if not fitting:
        return None, ""
    rule = max(fitting, key=lambda rule: len(rule.start))
    if rule.target is None:
        return None, rule.reason
    target = rule.target + name[len(rule.start) :]
    if name.endswith(COUNTER) and target not in own:
        return None, "a count that nothing reads"
    return target, ""


def _check(
    published: Published, homeless: Sequence[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    problems = [f"{name} has no home" for name in homeless]
    problems += [f"our {name} has no source" for name in own if name not in state]
    problems += [
        f"{name} is {tuple(state[name].shape)} there and {tuple(own[name].shape)} here"
        for name in state
        if state[name].shape != own[name].shape
    ]
    problems += [
        f"{name} has values that are not finite" for name in state if not state[name].isfinite().all()
    ]
    if problems:
        some = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise InputError(
            f"{published.path} does not fit its own options: {some}. A --config of the run it is from can "
            "say what the checkpoint does not"
        )
