"""Named protocols: a test set in; the folds to measure, or why its number would not be the protocol's.

In person search a caption asks, all test images answer, and an image of the same person is right. CMPL's own
code first averages the features of records that share an image file, and drops images with one caption; that
is not reproduced: every image is in the gallery, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from jaxtyping import Int

from wordsight.errors import InputError
from wordsight.pairs import PairSet
from wordsight.registry.entry_points import installed, installed_object
from wordsight.tensors import Tensor, torch

Way: TypeAlias = Literal["all", "first texts", "transpose", "equal rows", "identities"]
IN_PYTHON: dict[Way, str] = {
    "all": 'measure what you have with the protocol "all", or pass strict=False: the result then says that '
    "it is not the protocol",
    "first texts": "published numbers use the first {captions} of each: "
    "wordsight.evaluation.keep_texts(pairs, {captions})",
    "transpose": "pass scores.T",
    "equal rows": "if each image stands in {captions} equal rows, once per caption, pass "
    "scores[::{captions}]; if each image has one text, pass captions_per_image=1",
    "identities": "pass image_identities and text_identities",
}


class ProtocolMismatchError(InputError):
    """The data do not fit the protocol: the ``problem``, and the ``ways`` out of it."""

    def __init__(self, problem: str, ways: Sequence[Way], captions: int = 5) -> None:
        self.problem, self.ways, self.captions = problem, tuple(ways), captions
        super().__init__(self.explain(IN_PYTHON))

    def explain(self, words: Mapping[Way, str]) -> str:
        """In the words of who asked, in which {captions} is the number per image."""
        return "; ".join([self.problem, *(words[way].format(captions=self.captions) for way in self.ways)])


@dataclass(frozen=True)
class Protocol:
    """The data and folds of a published R@K; 0 stands for any number."""

    name: str
    title: str
    images: int = 0
    captions_per_image: int = 0  # 0: as many as there are; ``texts`` is their sum
    folds: int = 1
    texts: int = 0
    identities: int = 0
    persons: bool = False  # a text is right for all pictures of its person; measured by mAP and mINP too

    @property
    def captions(self) -> int:
        return self.texts or self.images * self.captions_per_image

    def expects(self) -> str:
        if not self.images:
            return "any number of images, any number of texts per image"
        if not self.captions_per_image:
            return f"{self.images} images of {self.identities} persons with {self.captions} captions"
        counts = (
            f"{self.images} images with {self.captions_per_image} captions each ({self.captions} captions)"
        )
        return f"{counts}, in {self.folds} consecutive folds" if self.folds > 1 else counts

    def check(
        self,
        texts_of: Int[Tensor, " image"],
        strict: bool = True,
        texts: int | None = None,
        identities: int | None = None,
    ) -> str:
        """Why these counts of texts per image are not the protocol's; empty when they are.

        ``texts`` and ``identities`` are their numbers, where identities are not those of the images.
        Raises ProtocolMismatchError instead, with the way out, when ``strict``.
        """
        images, texts = len(texts_of), int(texts_of.sum()) if texts is None else texts
        if not self.images or self._fits(texts_of, texts, identities):
            return ""
        of_persons = f" of {identities} persons" if self.persons and identities is not None else ""
        deviation = (
            f"{images} images{of_persons} with {texts} captions were given; "
            f"{self.name} ({self.title}) is measured on {self.expects()}"
        )
        if strict:
            more, ways = self._explained(texts_of)
            raise ProtocolMismatchError(deviation + more, ways, self.captions_per_image)
        return deviation

    def _fits(self, texts_of: Int[Tensor, " image"], texts: int, identities: int | None) -> bool:
        if len(texts_of) != self.images or texts != self.captions:
            return False
        if self.captions_per_image:
            return bool(torch.all(texts_of == self.captions_per_image))
        return identities is None or identities == self.identities

    def rows(self, images: int) -> list[range]:
        """The images of each fold: consecutive, never shuffled."""
        size = self.images // self.folds if self.folds > 1 else images
        return [range(start, min(start + size, images)) for start in range(0, images, size)]

    def _explained(self, texts_of: Int[Tensor, " image"]) -> tuple[str, list[Way]]:
        """Further facts, and the ways out."""
        images, captions = len(texts_of), self.captions_per_image
        more = int((texts_of > captions).sum())
        if captions and images == self.images and more and int(texts_of.min()) >= captions:
            return f"; {more} images have more than {captions} captions", ["first texts", "all"]
        if images < self.images and self.name.startswith("coco"):
            return (
                f". The first {images} images alone are another and easier test, and their R@K must not "
                f"be compared with published numbers: give all {self.images} images"
            ), ["all"]
        return "", ["all"]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("f30k", "Flickr30k, 1K test", 1000, 5),
        Protocol("f8k", "Flickr8k, 1K test", 1000, 5),
        Protocol("coco-5k", "COCO, 5K test", 5000, 5),
        Protocol("coco-1k-5fold", "COCO, average over five folds of 1K", 5000, 5, folds=5),
        Protocol("cuhk-pedes", "CUHK-PEDES, test", 3074, texts=6156, identities=1000, persons=True),
        Protocol("icfg-pedes", "ICFG-PEDES, test; its counts are not checked", persons=True),
        Protocol("rstp-reid", "RSTPReid, test; its counts are not checked", persons=True),
        Protocol("all", "all pairs given"),
    )
}


def find_protocol(name: str | Protocol) -> Protocol:
    """A protocol by name, ours or an installed package's; an unknown name lists the known ones."""
    if isinstance(name, Protocol):
        return name
    found = PROTOCOLS.get(name) or installed_object("protocol", name, Protocol)
    if found is None:
        known = ", ".join([*PROTOCOLS, *installed("protocol")])
        raise InputError(f'protocol "{name}" is not known; known: {known}')
    return found


def keep_texts(pairs: PairSet, count: int) -> PairSet:
    """Keep only the first ``count`` texts of each image, in their order."""
    seen = [0] * len(pairs.images)
    chosen = []
    for text, image in enumerate(pairs.image_of.tolist()):
        seen[image] += 1
        if seen[image] <= count:
            chosen.append(text)
    return replace(
        pairs,
        texts=[pairs.texts[text] for text in chosen],
        image_of=pairs.image_of[torch.tensor(chosen, dtype=torch.long)],
        objects=None if pairs.objects is None else [pairs.objects[text] for text in chosen],
    )
