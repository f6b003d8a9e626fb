"""Lists of ids of any lengths in, one rectangle of Tokens out."""

from collections.abc import Sequence

from wordsight.errors import InputError
from wordsight.sets import Tokens
from wordsight.tensors import torch


def pad_ids(ids: Sequence[Sequence[int]], pad_id: int = 0) -> Tokens:
    """Pad every text to the longest; ``pad_id`` fills what the mask says is not there.

    Raises ValueError for a text without ids, of which no encoder could make anything.
    """
    lengths = [len(text) for text in ids]
    if 0 in lengths:
        raise InputError(
            f"text {lengths.index(0)} of the {len(ids)} to pad has no ids; leave empty texts out"
        )
    longest = max(lengths, default=0)
    rows = [[*text, *[pad_id] * (longest - len(text))] for text in ids]
    mask = torch.arange(longest) < torch.tensor(lengths, dtype=torch.long)[:, None]
    return Tokens(torch.tensor(rows, dtype=torch.long).reshape(len(rows), longest), mask)
