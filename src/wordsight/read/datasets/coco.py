"""A COCO captions file (``annotations/captions_val2014.json``), which is one split -> pairs."""

import re
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.documents import field, list_field, outline, read_json
from wordsight.read.datasets.dataset import CaptionDataset
from wordsight.read.datasets.karpathy import images_of
from wordsight.read.datasets.picture_names import PictureFolder, picture_folder
from wordsight.read.datasets.records import Captioned
from wordsight.read.datasets.values import caption_of, identifier_of, shown

_SPLIT = re.compile(r"_(?P<split>\w+)\.json(?:\.gz)?$")  # captions_val2014.json: its pictures are in val2014


class Coco(CaptionDataset):
    """COCO's captions JSON.

    Write ``{split}`` in ``path`` and ``pictures`` to use one setting for several splits:
    ``path = "annotations/captions_{split}2014.json"``, ``pictures = "{split}2014"``. By default pictures are
    looked up where COCO's own archives lay them, too: in ``val2014`` beside ``annotations``.
    """

    kind = "COCO's caption JSON"
    without_splits = "a COCO captions file is one split: write path = captions_{split}2014.json"

    @classmethod
    def detect(cls, path: Path) -> bool:
        found = outline(path)
        return found is not None and {"images", "annotations"} <= found.keys

    def folder(self, source: Path, split: str | None) -> PictureFolder:
        named = _SPLIT.search(source.name)
        above = source.absolute().parent.parent
        also = [above / named["split"], above / "images" / named["split"]] if named else []
        return picture_folder(source, self.pictures, split, also)

    def load(self, source: Path, folder: PictureFolder) -> list[Captioned]:
        """In the order of the list of images."""
        document = read_json(source)
        pictures: dict[str, Captioned] = {}
        texts: dict[str, list[str]] = {}
        places: dict[str, list[str]] = {}
        for n, image in enumerate(images_of(document, source)):
            where = f"images[{n}]"
            name = identifier_of(field(image, "file_name", where, source), f"{where}.file_name", source)
            key = _key(image, "id", where, source)
            if key in pictures:
                raise InputError(
                    f"{source}: {where} has the id {shown(image['id'])} of {pictures[key].where}; give every "
                    "image its own"
                )
            texts[key], places[key] = [], []
            pictures[key] = Captioned(folder.find(name), name, texts[key], places[key], where, identity=key)
        for n, annotation in enumerate(list_field(document, "annotations", "the document", source)):
            where = f"annotations[{n}]"
            key = _key(annotation, "image_id", where, source)
            if key not in pictures:
                raise InputError(
                    f"{source}: {where} tells of image_id {shown(annotation['image_id'])}, which no entry of "
                    f"images has; their ids begin with {', '.join(list(pictures)[:3])}"
                )
            said = field(annotation, "caption", where, source)
            texts[key].append(caption_of(said, f"{where}.caption", source))
            places[key].append(where)
        return list(pictures.values())


def _key(entry: Any, name: str, where: str, source: Path) -> str:
    return identifier_of(field(entry, name, where, source), f"{where}.{name}", source)
