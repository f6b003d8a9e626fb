"""The setting device -> where to train; and pairs in bfloat16 back to float32."""

from dataclasses import replace

import torch

from wordsight.errors import InputError
from wordsight.pairs import EncodedPairs
from wordsight.sets import EmbeddingSet


def wants_cuda(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def find_device(name: str, local_rank: int) -> torch.device:
    if not wants_cuda(name):
        return _device("cpu" if name == "auto" else name)
    if not torch.cuda.is_available():
        raise InputError(f'[training] device = "{name}", but torch sees no GPU here; use "auto" or "cpu"')
    return _device(name if ":" in name else f"cuda:{local_rank}")


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f'[training] device = "{name}"; expected auto, cpu, cuda or cuda:1') from None


def in_float32(pairs: EncodedPairs) -> EncodedPairs:
    """Cast the input of a loss, after encoders and scores were computed in bfloat16."""

    def wide(embeddings: EmbeddingSet) -> EmbeddingSet:
        return replace(embeddings, vectors=embeddings.vectors.float())

    negative = None if pairs.negative_scores is None else pairs.negative_scores.float()
    return replace(
        pairs,
        images=wide(pairs.images),
        texts=wide(pairs.texts),
        scores=pairs.scores.float(),
        negative_scores=negative,
    )
