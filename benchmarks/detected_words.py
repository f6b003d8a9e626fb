"""Photographs, their sentences, a detector -> boxes of the words that name what it is sure of, as JSON lines.

    python benchmarks/detected_words.py DATASET.json DETECTOR.onnx --split val --out val.jsonl
    wordsight evaluate RUN --split val --objects val.jsonl

The detector is one of COCO's 80 kinds in their usual order, such as YOLOX. A sentence's word counts if it
names a kind of which the picture has a box that the detector is surer of than ``--sure``; all such boxes of
that kind are right. ``--which`` takes persons, things (all the rest), or small (things that cover less than
15 % of the picture).
"""

import argparse
import json
from pathlib import Path

import torch

from wordsight.pairs import PictureFiles
from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.pictures.detectors import distinct, open_detector

NAMES = """
person bicycle car motorcycle airplane bus train truck boat traffic-light fire-hydrant stop-sign
parking-meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag
tie suitcase frisbee skis snowboard ball kite bat glove skateboard surfboard racket bottle glass cup
fork knife spoon bowl banana apple sandwich orange broccoli carrot hot-dog pizza donut cake chair couch
plant bed table toilet tv laptop mouse remote keyboard phone microwave oven toaster sink refrigerator
book clock vase scissors teddy-bear dryer toothbrush
"""
KINDS = NAMES.split()
ALSO = {
    "person": "man men woman women boy boys girl girls child children people player players lady guy rider "
    "toddler baby skateboarder surfer kid kids climber skier snowboarder biker",
    "bicycle": "bike bikes",
    "motorcycle": "motorbike dirtbike",
    "ball": "soccer football basketball",
    "couch": "sofa",
    "dog": "puppy",
    "airplane": "plane",
    "boat": "canoe kayak raft",
}
SMALL = 0.15  # of the picture
KIND_OF = {
    word: number
    for number, kind in enumerate(KINDS)
    for word in (kind, f"{kind}s", *ALSO.get(kind, "").split())
}
MOST = 12  # boxes of a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("detector")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sure", type=float, default=0.5)
    parser.add_argument("--which", choices=("persons", "things", "small"), default="things")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    pairs, detector = Karpathy(asked.dataset).read(asked.split), open_detector(asked.detector)
    assert isinstance(pairs.images, PictureFiles)
    texts = pairs.texts_by_image()
    lines = 0
    with asked.out.open("w", encoding="utf-8") as out:
        for image in range(len(pairs.images)):
            told = detector.candidates(detector.pixels([pairs.images.paths[image]]).values)
            rows = distinct(told.boxes[0], told.sure[0], MOST)
            rows = rows[told.sure[0][rows] > asked.sure]
            boxes, kinds = told.boxes[0][rows].clamp(0, 1), told.kinds[0][rows]
            for number, text in enumerate(texts[image]):
                for word, spelled in enumerate(pairs.texts[text].split()):
                    kind = KIND_OF.get(spelled.lower().strip(".,!?;:'\""))
                    if kind is None or (kind == 0) != (asked.which == "persons"):
                        continue
                    right = boxes[kinds == kind]
                    if asked.which == "small" and covered(right) >= SMALL:
                        continue
                    for box in right.tolist():
                        line = {
                            "picture": pairs.names[image],
                            "sentence": number,
                            "word": word,
                            "fractions": box,
                        }
                        out.write(json.dumps(line) + "\n")
                        lines += 1
    print(f"{asked.out}: {lines} boxes of words")


def covered(boxes: torch.Tensor) -> float:
    return float((boxes[:, 2:] - boxes[:, :2]).prod(1).sum())


if __name__ == "__main__":
    main()
