"""Many scores -> one: mean, max, sum, softmax, log-sum-exp over the last axis, padding left out by a mask."""

from jaxtyping import Bool, Float

from wordsight.errors import InputError
from wordsight.registry.limits import Positive
from wordsight.tensors import Tensor, nn, torch

ROUNDING = 2.0**-24  # of a float32 number, relative


class Pooling(nn.Module):
    """Adds up how well each query found itself.

    ``mask`` is False where a value only pads; None says that all values count. A row without any value is an
    error, because no number would be right for it.
    """

    def forward(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"] | None = None
    ) -> Float[Tensor, "*rows"]:
        if mask is None:
            return self.pool(values)
        if not bool(mask.any(-1).all()):
            raise InputError("a row to pool has no value: its mask is False everywhere")
        return self.pool_masked(values, mask)

    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        raise NotImplementedError

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        """-inf is right for whatever takes an exponential or a maximum."""
        return self.pool(values.masked_fill(~mask, -float("inf")))

    def error(self, each: Float[Tensor, "*n"], count: int) -> Float[Tensor, "*n"]:  # noqa: ARG002
        """How far a float32 result may be off when each of ``count`` cosines is off by at most ``each``.

        It certifies ranks that were found with inexact cosines; infinite where nothing is known.
        """
        return torch.full_like(each, float("inf"))


class Mean(Pooling):
    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return values.mean(-1)

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        return values.masked_fill(~mask, 0).sum(-1) / mask.sum(-1)

    def error(self, each: Float[Tensor, "*n"], count: int) -> Float[Tensor, "*n"]:
        return each + (count + 2) * ROUNDING


class Sum(Pooling):
    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return values.sum(-1)

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        return values.masked_fill(~mask, 0).sum(-1)

    def error(self, each: Float[Tensor, "*n"], count: int) -> Float[Tensor, "*n"]:
        return count * (each + count * ROUNDING)


class Max(Pooling):
    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return values.amax(-1)

    def error(self, each: Float[Tensor, "*n"], count: int) -> Float[Tensor, "*n"]:  # noqa: ARG002
        return each


class _WithTemperature(Pooling):
    def __init__(self, temperature: Positive = 0.1):
        super().__init__()
        if not temperature > 0:
            raise InputError(
                f"temperature = {temperature}; a pooling's temperature must be above 0, e.g. 0.1"
            )
        self.temperature = temperature


class Softmax(_WithTemperature):
    """Mean weighted by softmax(value / temperature)."""

    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return (values * (values / self.temperature).softmax(-1)).sum(-1)

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        weights = (values / self.temperature).masked_fill(~mask, -float("inf")).softmax(-1)
        return (values.masked_fill(~mask, 0) * weights).sum(-1)

    def error(self, each: Float[Tensor, "*n"], count: int) -> Float[Tensor, "*n"]:
        """The derivatives are p (1 + (value - pooled) / T): their sizes add up to 1 + 1 / T for cosines."""
        return (1 + 1.1 / self.temperature) * each + 2 * (count + 10 + 10 / self.temperature) * ROUNDING


class LogSumExp(_WithTemperature):
    """T log sum exp(value / T): a smooth maximum, between max and max + T log n.

    The published CHAN code leaves out the leading T, so that scores (and gradients) are 1 / T times larger;
    ``scaled=False`` reproduces it. SCAN's ``lambda_lse`` is 1 / temperature.
    """

    def __init__(self, temperature: Positive = 0.1, scaled: bool = True):
        super().__init__(temperature)
        self.scaled = scaled

    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        pooled = (values / self.temperature).logsumexp(-1)
        return pooled * self.temperature if self.scaled else pooled

    def error(self, each: Float[Tensor, "*n"], count: int) -> Float[Tensor, "*n"]:
        """The derivatives are a softmax / T; and value / T, the sum and its logarithm are rounded."""
        unscaled = (each + 10 * ROUNDING) / self.temperature + (count + 10) * ROUNDING
        return unscaled * self.temperature if self.scaled else unscaled
