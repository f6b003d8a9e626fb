"""Seed -> a PairSet of generated pictures with five sentences each and the box of everything they name."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from wordsight.errors import InputError
from wordsight.pairs import PairSet, Picture, WordBox, one_identity_per_image
from wordsight.read.datasets.dataset import Dataset
from wordsight.read.synthetic.captions import Sentence, write_sentences
from wordsight.read.synthetic.render import draw
from wordsight.read.synthetic.scenes import Scene, draw_scene, near_misses
from wordsight.read.synthetic.semantics import Meaning, holds
from wordsight.registry.limits import Count, PixelSide
from wordsight.tensors import torch

IMAGES = {"train": 4000, "val": 120, "test": 500}


@dataclass
class WorldPictures:
    """Pictures of scenes, drawn when first asked for and then kept (12 kB each at 64 pixels)."""

    scenes: Sequence[Scene]
    size: int
    drawn: dict[int, UInt8[np.ndarray, "size size 3"]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.scenes)

    def read(self, rows: Sequence[int]) -> list[Picture]:
        for row in rows:
            if row not in self.drawn:
                self.drawn[row] = draw(self.scenes[row], self.size)
        return [self.drawn[row] for row in rows]


@dataclass(frozen=True)
class WorldSplit:
    """The scenes of one split and the sentences told of each."""

    scenes: list[Scene]
    sentences: list[list[Sentence]]


class World(Dataset):
    """The generated world: pictures [size size 3] and five sentences of each.

    "train" holds independent scenes. "val" (or "dev") and "test" hold groups of four near misses (as they
    are; two colours swapped; two places swapped; one word changed), and each sentence there is false of every
    other picture of its split: a perfect matcher ranks its own first. ``objects`` gives, for each thing that
    a sentence speaks of, the position of its noun ("circle", "thing") and the thing's box.
    """

    kind = "the generated world"

    def __init__(self, seed: int = 0, images: Count | None = None, size: PixelSide = 64) -> None:
        self.seed, self.images, self.size = seed, images, size

    def splits(self) -> list[str]:
        return list(IMAGES)

    def read(self, split: str | None = "train") -> PairSet:
        split = "val" if split == "dev" else split
        if split not in IMAGES:
            raise InputError(
                f'the generated world has no split "{split}"; known: {", ".join(IMAGES)}, dev (= val)'
            )
        world = generate(split, self.seed, IMAGES[split] if self.images is None else self.images)
        sentences = [(row, sentence) for row, five in enumerate(world.sentences) for sentence in five]
        return PairSet(
            images=WorldPictures(world.scenes, self.size),
            names=[picture_name(split, row) for row in range(len(world.scenes))],
            texts=[sentence.text for _, sentence in sentences],
            image_of=torch.tensor([row for row, _ in sentences], dtype=torch.long),
            identities=one_identity_per_image(len(world.scenes)),
            objects=[
                [WordBox(word, world.scenes[row].things[thing].box) for word, thing in sentence.named]
                for row, sentence in sentences
            ],
            source=f"generated world, seed {self.seed}, {split}",
        )


def picture_name(split: str, row: int) -> str:
    return f"{split}-{row:05d}.png"


@functools.lru_cache(maxsize=4)
def generate(split: str, seed: int, images: int) -> WorldSplit:
    """The scenes and sentences of a split; the first pictures do not depend on how many follow in "train"."""
    name = f"{seed}/{split}"
    if split == "train":
        scenes = [draw_scene(f"{name}/{row}") for row in range(images)]
        sentences = [write_sentences(scene, _never, f"{scene.backdrop}/sentences") for scene in scenes]
    else:
        groups = [near_misses(f"{name}/{group}") for group in range(-(-images // 4))]
        scenes = [scene for group in groups for scene in group][:images]
        sentences = _tell_apart(scenes, name)
    return WorldSplit(scenes, sentences)


def _never(_meaning: Meaning) -> bool:
    return False


def _tell_apart(scenes: list[Scene], name: str) -> list[list[Sentence]]:
    """Five sentences for each scene, all false of every other scene."""
    index = _Index(scenes)
    return [
        write_sentences(scene, functools.partial(index.holds_elsewhere, row), f"{name}/{row}/sentences")
        for row, scene in enumerate(scenes)
    ]


class _Index:
    """The scenes that hold a thing of a shape and colour, so that few of them need to be judged."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = scenes
        self.rows: dict[tuple[str | None, str | None], set[int]] = {}
        for row, scene in enumerate(scenes):
            for thing in scene.things:
                for key in ((thing.shape, thing.colour), (thing.shape, None), (None, thing.colour)):
                    self.rows.setdefault(key, set()).add(row)

    def holds_elsewhere(self, own: int, meaning: Meaning) -> bool:
        """Whether the meaning, generously read, is true of any scene but its own."""
        possible = set.intersection(*[self.rows[phrase.shape, phrase.colour] for phrase in meaning.phrases])
        return any(holds(meaning, self.scenes[row]) for row in possible - {own})
