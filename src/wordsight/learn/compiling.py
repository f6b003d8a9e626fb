"""The setting compile -> the encoders that ``torch.compile`` translates; a resumed run repeats the decision.

Translating takes a minute or more, and saves what a GPU waits between small operations. On a processor it has
cost 101 seconds and made a pass slower (0.41 ms, 0.29 ms as it was), so "auto" leaves a processor alone. On a
GPU the first batch is timed, and only an encoder that a run spends long enough in is tried.

Lengths differ from batch to batch: the second one makes the program general (``dynamic`` stays torch's own
choice), and torch stops at eight versions of a function, so translating ends.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from wordsight.learn.settings import Choice
from wordsight.matcher import Matcher
from wordsight.pairs import PairBatch
from wordsight.runtime.compiler import missing_for_compiling
from wordsight.runtime.halving import free_cached

ENCODERS = ("image_encoder", "text_encoder")
LEAST_SECONDS = 600.0  # of a run in an encoder: a tenth of it pays for translating once, and for validation
CLEAR_GAIN = 1.1
TRIES = 5


@dataclass(frozen=True)
class Compiled:
    """A decision for one run; it stands in run.json."""

    encoders: Sequence[str] = ()
    gains: Mapping[str, float] = field(default_factory=dict)  # seconds before / after; none: not tried
    problem: str = ""  # why nothing could be compiled, in one clause

    @property
    def warning(self) -> str:
        return f"the encoders are not compiled: {self.problem}" if self.problem else ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def apply(self, matcher: Matcher) -> None:
        for name in self.encoders:
            getattr(matcher, name).compile()


class Probe:
    """Times passes of an encoder forward and back, for one batch; weights and statistics stay as they are.

    ``context`` is that of all passes (autocast); ``steps`` is how many of them the run has.
    """

    def __init__(
        self,
        matcher: Matcher,
        batch: Callable[[], PairBatch],
        context: Callable[[], AbstractContextManager[Any]],
        steps: int,
    ) -> None:
        self.matcher, self._read, self.context, self.steps = matcher, batch, context, steps
        self._batch: PairBatch | None = None

    def seconds(self, name: str, least: float = 0.0) -> float:
        """The shortest of some passes, after one that is not counted; if that is below ``least``, its own."""
        encoder: nn.Module = getattr(self.matcher, name)
        before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
        try:
            first = self._pass(name, encoder)
            return first if first < least else min(self._pass(name, encoder) for _ in range(TRIES))
        finally:
            for name, buffer in encoder.named_buffers():
                buffer.copy_(before[name])
            encoder.zero_grad(set_to_none=True)

    def compiled_seconds(self, name: str) -> float:
        """Time it after ``torch.compile``, which is taken back."""
        encoder: nn.Module = getattr(self.matcher, name)
        encoder.compile()
        try:
            return self.seconds(name)
        finally:
            encoder._compiled_call_impl = None

    def _pass(self, name: str, encoder: nn.Module) -> float:
        if self._batch is None:
            self._batch = self._read()
        rows = self._batch.images if name == "image_encoder" else self._batch.texts
        start = time.perf_counter()
        with self.context():
            total = encoder(rows).vectors.float().sum()
        if total.requires_grad:
            total.backward()
            total = torch.stack([total.detach(), *_first_gradient(encoder)]).sum()
        float(total)  # waits for the device
        return time.perf_counter() - start


def decide_or_repeat(
    begun: Mapping[str, Any] | None, setting: Choice, device: torch.device, probe: Probe
) -> Compiled:
    """The decision of a run, new or resumed; ``begun`` is the run.json of one that was begun."""
    if begun is None:
        return decide(setting, device, probe)
    return repeat(begun.get("compile"), begun["training"].get("compile", False), device)


def decide(setting: Choice, device: torch.device, probe: Probe) -> Compiled:
    """Decide for a new run; a probe that fails is a reason not to compile."""
    if setting is False or (setting == "auto" and device.type != "cuda"):
        return Compiled()
    missing = missing_for_compiling(device)
    if missing is not None:
        return Compiled(problem=missing)
    if setting is True:
        return Compiled(ENCODERS)
    gains: dict[str, float] = {}
    try:
        for name in ENCODERS:
            least = LEAST_SECONDS / probe.steps
            plain = probe.seconds(name, least)
            if plain >= least:
                gains[name] = round(plain / probe.compiled_seconds(name), 4)
    except Exception as error:  # of Dynamo, Inductor, Triton or a C compiler
        free_cached()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Compiled(gains=gains, problem=f"torch.compile failed ({reason})")
    return Compiled([name for name, gain in gains.items() if gain >= CLEAR_GAIN], gains)


def repeat(known: Mapping[str, Any] | None, setting: Choice, device: torch.device) -> Compiled:
    """The decision of a resumed run; a run of before decisions did what its setting said."""
    begun = Compiled(**known) if known is not None else Compiled(ENCODERS if setting is True else ())
    missing = missing_for_compiling(device) if begun.encoders else None
    return begun if missing is None else Compiled(problem=missing)


def _first_gradient(encoder: nn.Module) -> list[torch.Tensor]:
    """A number that is there only when the whole pass back is done."""
    gradients = (weight.grad for weight in encoder.parameters() if weight.grad is not None)
    return [gradient.float().sum() for gradient in list(gradients)[:1]]
