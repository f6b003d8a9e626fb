"""Probes of this processor -> the products and the number format that wordsight takes here, and why."""

from collections.abc import Iterator
from importlib.util import find_spec

from wordsight.doctor.facts import Fact, State


def choices() -> Iterator[Fact]:
    """Each value is what a search or a training on this machine takes; the probes are those they make."""
    if find_spec("torch") is None:
        yield Fact("products", "unknown: torch is not installed", State.note)
        return
    import torch

    from wordsight.learn.precision import CLEAR_SPEEDUP, bf16_speedup
    from wordsight.similarity.kernels.integer_product import WORTHWHILE, int8_speedup, integer_product
    from wordsight.similarity.kernels.matmul import product_name

    yield Fact("threads", torch.get_num_threads())
    yield Fact("instructions that torch uses", torch.backends.cpu.get_cpu_capability())
    yield Fact("float32 product", product_name())
    integers, speedup = integer_product("cpu"), int8_speedup("cpu")
    exact = (
        "none is exact here"
        if integers is None
        else f"{type(integers).__name__}, values up to {integers.largest}"
    )
    yield Fact("int8 product", exact)
    taken = "int8 screen" if speedup >= WORTHWHILE else "float32"
    yield Fact(
        "exact ranks by", f"{taken}: int8 is {speedup:.1f} times as fast as float32, {WORTHWHILE} pays"
    )
    halves = bf16_speedup()
    precision = "bf16" if halves >= CLEAR_SPEEDUP else "float32"
    yield Fact(
        'training precision = "auto"',
        f"{precision} on the CPU: bfloat16 is {halves:.2g} times as fast as float32, {CLEAR_SPEEDUP} pays",
    )
