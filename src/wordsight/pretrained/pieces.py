"""Pieces of words as sentencepiece spells them -> which of them begin a word."""

from pathlib import Path

from jaxtyping import Bool

from wordsight.pretrained.models import LOCAL, import_transformers, quiet
from wordsight.pretrained.published_files import built_from, check_published
from wordsight.tensors import Tensor, torch

SPACE = "\u2581"  # before a piece that begins a word


def is_byte(piece: str) -> bool:
    """True for a byte of a letter that the tokenizer does not know: <0xE2>."""
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def word_starts(folder: Path, size: int) -> Bool[Tensor, " id"]:
    """True for each id of a published tokenizer that begins a word: behind a space, or without a letter."""
    check_published(folder)
    transformers = import_transformers()
    with quiet(transformers), built_from(folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
        pieces = tokenizer.convert_ids_to_tokens(list(range(min(size, len(tokenizer)))))
    begins = [piece.startswith(SPACE) or not (piece[:1].isalnum() or is_byte(piece)) for piece in pieces]
    return torch.tensor([*begins, *[True] * (size - len(begins))])
