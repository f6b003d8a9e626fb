"""Many scores -> one: mean, max, sum, softmax, log-sum-exp over the last axis, padding left out by a mask."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


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
            raise ValueError("a row to pool has no value: its mask is False everywhere")
        return self.pool_masked(values, mask)

    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        raise NotImplementedError

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        """-inf is right for whatever takes an exponential or a maximum."""
        return self.pool(values.masked_fill(~mask, -float("inf")))


class Mean(Pooling):
    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return values.mean(-1)

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        return values.masked_fill(~mask, 0).sum(-1) / mask.sum(-1)


class Sum(Pooling):
    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return values.sum(-1)

    def pool_masked(
        self, values: Float[Tensor, "*rows query"], mask: Bool[Tensor, "*#rows query"]
    ) -> Float[Tensor, "*rows"]:
        return values.masked_fill(~mask, 0).sum(-1)


class Max(Pooling):
    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        return values.amax(-1)


class _WithTemperature(Pooling):
    def __init__(self, temperature: float = 0.1):
        super().__init__()
        if not temperature > 0:
            raise ValueError(
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


class LogSumExp(_WithTemperature):
    """T log sum exp(value / T): a smooth maximum, between max and max + T log n.

    The published CHAN code leaves out the leading T, so that scores (and gradients) are 1 / T times larger;
    ``scaled=False`` reproduces it. SCAN's ``lambda_lse`` is 1 / temperature.
    """

    def __init__(self, temperature: float = 0.1, scaled: bool = True):
        super().__init__(temperature)
        self.scaled = scaled

    def pool(self, values: Float[Tensor, "*rows query"]) -> Float[Tensor, "*rows"]:
        pooled = (values / self.temperature).logsumexp(-1)
        return pooled * self.temperature if self.scaled else pooled
