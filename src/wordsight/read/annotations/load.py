"""Known boxes of words, from Flickr30k Entities, COCO's instances or JSON lines, added to a PairSet."""

from dataclasses import replace
from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.pairs import PairSet
from wordsight.read.annotations.box_jsonl import SUFFIXES, box_objects
from wordsight.read.annotations.coco_instances import instance_objects
from wordsight.read.annotations.flickr30k_entities import entity_objects


def with_objects(pairs: PairSet, path: Path) -> PairSet:
    """Add the known boxes of words from a folder of Flickr30k Entities, COCO's instances or a JSONL file.

    The formats and the errors are those of ``flickr30k_entities``, ``coco_instances`` and ``box_jsonl``.
    """
    if path.is_dir():
        return replace(pairs, objects=entity_objects(path, pairs))
    if not path.is_file():
        raise MissingFileError(
            f"there are no known boxes at {path}; give the folder of Flickr30k Entities, COCO's "
            "instances_*.json, or a JSONL file"
        )
    if path.name.lower().endswith((".json", ".json.gz")):
        return replace(pairs, objects=instance_objects(path, pairs))
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path} is not known as a file of boxes; give the folder of Flickr30k Entities, COCO's "
            f"instances_*.json, or JSON lines ({' or '.join(SUFFIXES)})"
        )
    return replace(pairs, objects=box_objects(path, pairs))
