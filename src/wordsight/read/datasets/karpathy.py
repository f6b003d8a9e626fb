"""Karpathy's ``dataset_{flickr8k,flickr30k,coco}.json``, also as ``.json.gz`` -> pairs of picture files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.documents import field, list_field, outline, read_json
from wordsight.read.datasets.dataset import CaptionDataset
from wordsight.read.datasets.picture_names import PictureFolder
from wordsight.read.datasets.records import Captioned, Missing, of_split
from wordsight.read.datasets.values import caption_of, identifier_of


class Karpathy(CaptionDataset):
    """Karpathy's JSON of one data set with all its splits.

    ``restval`` joins COCO's restval pictures to train, as VSE++ and its successors do (113,287 pictures);
    without it train is 82,783 pictures, as in CMPL. The other settings are those of ``CaptionDataset``.
    """

    kind = "Karpathy's caption JSON"

    def __init__(
        self,
        path: str | Path,
        pictures: str | Path | None = None,
        restval: bool = True,
        missing: Missing = "error",
        drop_empty: bool = False,
    ) -> None:
        super().__init__(path, pictures, missing, drop_empty)
        self.restval = restval

    @classmethod
    def detect(cls, path: Path) -> bool:
        found = outline(path)
        return found is not None and "images" in found.keys and "annotations" not in found.keys

    def splits(self) -> list[str]:
        return [name for name in super().splits() if not (self.restval and name == "restval")]

    def load(self, source: Path, folder: PictureFolder) -> list[Captioned]:
        images = images_of(read_json(source), source)
        items = [_item(image, f"images[{n}]", folder, source) for n, image in enumerate(images)]
        distinct = len({item.identity for item in items}) == len(items)  # not so where files were joined
        return items if distinct else [replace(item, identity=None) for item in items]

    def of_split(self, items: Sequence[Captioned], split: str) -> list[Captioned]:
        joined = ["restval"] if self.restval and split == "train" else []
        return of_split(items, split, self.source(split), joined)


def images_of(document: Any, path: Path) -> list[Any]:
    images = list_field(document, "images", "the document", path)
    if not images:
        raise InputError(f"{path}: the list images is empty; fetch the file again")
    return images


def _item(image: Any, where: str, folder: PictureFolder, source: Path) -> Captioned:
    name = identifier_of(field(image, "filename", where, source), f"{where}.filename", source)
    inner = image.get("filepath")  # COCO's train2014, val2014; people also keep all pictures in one folder
    name = f"{inner}/{name}" if inner else name
    sentences = list_field(image, "sentences", where, source)
    places = [f"{where}.sentences[{n}]" for n in range(len(sentences))]
    return Captioned(
        picture=folder.find(name),
        name=name,
        texts=[_sentence(sentence, place, source) for sentence, place in zip(sentences, places, strict=True)],
        places=places,
        where=where,
        split=str(field(image, "split", where, source)),
        identity=identifier_of(image["imgid"], f"{where}.imgid", source) if "imgid" in image else None,
    )


def _sentence(sentence: Any, where: str, source: Path) -> str:
    if isinstance(sentence, dict) and "raw" not in sentence and isinstance(sentence.get("tokens"), list):
        return " ".join(map(str, sentence["tokens"]))
    return caption_of(field(sentence, "raw", where, source), f"{where}.raw", source)
