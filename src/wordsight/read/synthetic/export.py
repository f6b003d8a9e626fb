"""The generated world -> a folder: PNG pictures, captions (Karpathy's layout or sidecar files), boxes."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from wordsight.errors import AlreadyExistsError
from wordsight.files.atomic import atomic_folder
from wordsight.read.synthetic.captions import Sentence
from wordsight.read.synthetic.dataset import WorldSplit, generate, picture_name
from wordsight.read.synthetic.render import draw
from wordsight.read.text.word_rules import split_words

CAPTIONS = "dataset_world.json"
BOXES = "boxes.json"
PICTURES = "images"


def write_world(
    folder: str | os.PathLike[str], seed: int = 0, images: int = 1000, size: int = 64, held_out: int = 500
) -> str:
    """Write ``images`` training pictures and ``held_out`` of val and of test; says what was written.

    ``dataset_world.json`` is what ``Karpathy`` reads. ``boxes.json`` holds for each picture its things
    (shape, colour, size, texture, box) and for each sentence which of its words names which of them.
    The folder appears when all of it is there: a disk that fills up leaves nothing behind.
    Raises FileExistsError if the folder has anything in it.
    """
    splits = {"train": images, "val": held_out, "test": held_out}
    home = Path(folder)
    _refuse_full(home)
    with atomic_folder(home) as fresh:
        (fresh / PICTURES).mkdir()
        captions: list[dict[str, Any]] = []
        boxes: dict[str, Any] = {}
        for split, count in splits.items():
            world = generate(split, seed, count)
            for row, scene in enumerate(world.scenes):
                name = picture_name(split, row)
                Image.fromarray(draw(scene, size)).save(fresh / PICTURES / name)
                captions.append(_captions(world.sentences[row], name, split, len(captions)))
                boxes[name] = _boxes(world, row)
        _write(fresh / CAPTIONS, {"dataset": "world", "images": captions})
        _write(fresh / BOXES, boxes)
    counted = ", ".join(f"{count} {split}" for split, count in splits.items())
    return f"{home}: {len(captions)} pictures ({counted}) of {size} x {size} pixels, {CAPTIONS}, {BOXES}"


def write_pictures(folder: Path, split: str, seed: int = 0, images: int = 500, size: int = 64) -> None:
    """Every picture of a split as a PNG file, its sentences in a sidecar text file.

    Raises FileExistsError if the folder has anything in it; a disk that fills up leaves nothing behind.
    """
    _refuse_full(folder)
    world = generate(split, seed, images)
    with atomic_folder(folder) as fresh:
        for row, scene in enumerate(world.scenes):
            path = fresh / picture_name(split, row)
            Image.fromarray(draw(scene, size)).save(path)
            texts = "\n".join(sentence.text for sentence in world.sentences[row])
            path.with_suffix(".txt").write_text(texts, encoding="utf-8")


def _captions(sentences: list[Sentence], name: str, split: str, image: int) -> dict[str, Any]:
    """One entry of Karpathy's "images"."""
    ids = [image * len(sentences) + number for number in range(len(sentences))]
    texts = [
        {
            "raw": sentence.text,
            "tokens": split_words(sentence.text, "karpathy"),
            "imgid": image,
            "sentid": number,
        }
        for number, sentence in zip(ids, sentences, strict=True)
    ]
    return {"filename": name, "imgid": image, "split": split, "sentids": ids, "sentences": texts}


def _boxes(world: WorldSplit, row: int) -> dict[str, Any]:
    things = [asdict(thing) | {"box": thing.box} for thing in world.scenes[row].things]
    named = [
        {"raw": sentence.text, "words": [{"word": word, "thing": thing} for word, thing in sentence.named]}
        for sentence in world.sentences[row]
    ]
    return {"things": things, "sentences": named}


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _refuse_full(home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise AlreadyExistsError(
            f"{home} exists and is not an empty folder; name a new folder, or empty this one"
        )
