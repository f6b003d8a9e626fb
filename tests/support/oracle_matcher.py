"""A matcher that needs no training: a region of a picture has the vector of the word that names it."""

import random
from dataclasses import dataclass

import torch
from torch import nn

from wordsight.matcher import Matcher
from wordsight.pairs import PairSet, one_identity_per_image
from wordsight.read.features.precomputed_reader import Precomputed
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.sets import EmbeddingSet, Regions, Tokens
from wordsight.similarity.max_sim import MaxSim

DIM = 32
THINGS = tuple(
    """
    apple bird cat desk egg fan goat house island jacket kite lamp moon nest oven pear queen road ship tent
    urn van well yard zebra bank coat duck ear fork
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class StoredRegions:
    """Regions in memory as an image source."""

    regions: Regions

    def __len__(self) -> int:
        return len(self.regions)

    def read(self, rows: list[int]) -> Regions:
        return self.regions[rows]


class RegionsAsTheyAre(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out_dim = DIM

    def forward(self, regions: Regions) -> EmbeddingSet:
        return EmbeddingSet(regions.features, regions.mask)


class WordTable(nn.Module):
    """One vector per word of the vocabulary; those of things are ``thing_vectors``."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.out_dim = DIM
        weight = torch.randn(len(vocabulary), DIM, generator=torch.Generator().manual_seed(1)) * 0.05
        for thing, vector in zip(THINGS, thing_vectors(), strict=True):
            weight[vocabulary.entries.index(thing)] = vector
        self.table = nn.Embedding.from_pretrained(weight)

    def forward(self, tokens: Tokens) -> EmbeddingSet:
        return EmbeddingSet(self.table(tokens.ids), tokens.mask)


def thing_vectors() -> torch.Tensor:
    vectors = torch.randn(len(THINGS), DIM, generator=torch.Generator().manual_seed(0))
    return nn.functional.normalize(vectors, dim=-1)


def oracle_matcher() -> Matcher:
    vocabulary = Vocabulary.learn([f"a {' '.join(THINGS)} and a"], min_count=1)
    tokenizer = Words(vocabulary)
    return Matcher(
        Precomputed(DIM),
        tokenizer,
        RegionsAsTheyAre(),
        WordTable(tokenizer.vocabulary),
        MaxSim(pooling="mean"),
    ).eval()


def oracle_pairs(images: int, texts: int, seed: int = 0, noise: float = 0.1) -> PairSet:
    """Each picture shows three things; each of its texts names two of them."""
    chance, draw = random.Random(seed), torch.Generator().manual_seed(seed)
    shown = [chance.sample(range(len(THINGS)), 3) for _ in range(images)]
    features = thing_vectors()[torch.tensor(shown)]
    features = features + noise * torch.randn(features.shape, generator=draw)
    named = [(image, chance.sample(things, 2)) for image, things in enumerate(shown) for _ in range(texts)]
    return PairSet(
        images=StoredRegions(Regions(features, None, torch.ones(images, 3, dtype=torch.bool))),
        names=[f"{number:04}" for number in range(images)],
        texts=[f"a {THINGS[one]} and a {THINGS[other]}" for _, (one, other) in named],
        image_of=torch.tensor([image for image, _ in named]),
        identities=one_identity_per_image(images),
    )
