"""Shares such as "80/10/10" and a seed -> the split of each picture, for data without splits of its own."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

from wordsight.errors import InputError

NAMES = ("train", "val", "test")


def shares_of(text: str) -> tuple[float, ...]:
    """The shares of train, validation and test in [0, 1]: "80/10/10", "8/1/1" and "0.8/0.1/0.1" are equal."""
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != len(NAMES) or not all(0 <= number < 1e9 for number in numbers) or not numbers[0]:
        raise InputError(
            f"split = {text!r} is no division", "expected shares of train/val/test, for instance 80/10/10"
        )
    return tuple(number / sum(numbers) for number in numbers)


def divide(keys: Sequence[str], shares: str, seed: int = 0) -> list[str]:
    """The split of each key; equal keys (a person's pictures, the rows of a picture) are in one split.

    The seed draws the order of the distinct keys, wherever they stand in the file. Each share above 0 gets at
    least one of them where there are enough.
    """
    fractions = shares_of(shares)
    distinct = sorted(set(keys), key=lambda key: (_draw(key, seed), key))
    count = len(distinct)
    ends = [round(end * count) for end in accumulate(fractions)]
    for n in reversed(range(1, len(ends))):  # a share that would be empty takes from those before
        if fractions[n] and ends[n] == ends[n - 1] > 1:
            ends[:n] = [min(end, ends[n] - 1) for end in ends[:n]]
    split_of: dict[str, str] = {}
    for name, start, end in zip(NAMES, [0, *ends], ends, strict=False):
        split_of |= dict.fromkeys(distinct[start:end], name)
    return [split_of[key] for key in keys]


def _draw(key: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
