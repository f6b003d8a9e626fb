"""The setting ``detect`` -> phrases to find in pictures; by default the 80 kinds of things of COCO."""

import re
from collections.abc import Sequence
from pathlib import Path

from wordsight.errors import InputError

# in COCO's order; its names for three of them read as people write them
COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, "
    "giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, "
    "baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, "
    "knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, "
    "cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, "
    "cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, "
    "hair drier, toothbrush"
)
MOST_PHRASES = 32_000  # numbered in 16 bits
_HUB = re.compile(r"[^\s,]*/[^\s,]*")  # also a path: what is not there is named by who opens it
EXAMPLES = "IDEA-Research/grounding-dino-tiny or google/owlv2-base-patch16-ensemble"


def phrases_of(detect: str | Sequence[str] | None) -> tuple[str, ...]:
    """Phrases in small letters, none of them twice. ``detect``: a list, or one text with commas between.

    Raises InputError for a phrase without a letter, or with a mark that ends a sentence.
    """
    given = COCO if detect is None else detect
    parts = given.split(",") if isinstance(given, str) else given
    phrases = [" ".join(part.lower().split()).rstrip(".") for part in parts]
    for phrase in phrases:
        if not any(map(str.isalnum, phrase)) or any(mark in phrase for mark in ".?,"):
            raise InputError(
                f'detect holds "{phrase}"; expected words to find, with commas between: "dog, red frisbee"'
            )
    if not 0 < len(phrases) <= MOST_PHRASES:
        raise InputError(f"detect holds {len(phrases)} phrases; expected 1 to {MOST_PHRASES}")
    return tuple(dict.fromkeys(phrases))


def check_detector_name(name: str | None, detect: str | Sequence[str] | None) -> None:
    """Raises InputError for words where a model is expected, and for words without any model."""
    if name is None:
        if detect is not None:
            raise InputError(
                "detect says what to find, and no detector is given to find it",
                f"add one that reads text: --detector (or detector =) {EXAMPLES}",
            )
    elif not name.endswith(".onnx") and not Path(name).expanduser().exists() and not _HUB.fullmatch(name):
        raise InputError(
            f'detector = "{name}" is no model: neither a folder, nor a name of the hub (OWNER/MODEL)',
            f'to find things by their names: --detector MODEL --detect "{name}"; MODEL may be {EXAMPLES}',
        )
