"""Flickr30k Entities' files, written for a test."""

from collections.abc import Sequence
from pathlib import Path

WEDDING = """\
[/EN#255542/people A bearded man] , and [/EN#255543/people a girl] in [/EN#255550/clothing a red dress] wed .
[/EN#255544/people The group of people] are assembling for [/EN#255546/other a wedding] .
[/EN#255542/people a man] and [/EN#255543/people woman] dressed for [/EN#255546/other a wedding function] .
[/EN#255543/people A woman] holds [/EN#255545/bodyparts/people a man 's arm] at [/EN#255549/scene an event] .
[/EN#0/notvisual there] , [/EN#255543/people two T-shirts] on [/EN#255542/people the man] 's arm
"""


def thing(chains: Sequence[int], *corners: int, scene: int = 0) -> str:
    names = "".join(f"<name>{chain}</name>" for chain in chains)
    if not corners:
        return f"<object>{names}<scene>{scene}</scene><nobndbox>{1 - scene}</nobndbox></object>"
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{number}</{side}>" for side, number in sides)
    return f"<object>{names}<bndbox>{box}</bndbox></object>"


def annotation(*things: str, width: int = 500, height: int = 200) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{size}{''.join(things)}</annotation>"


THINGS = (
    thing([255542], 1, 1, 100, 200),
    thing([255542, 255544], 101, 1, 200, 200),  # the man again, and one of the group
    thing([255543, 255544], 201, 51, 500, 200),
    thing([255550], 251, 101, 251, 101),  # a single pixel
    thing([255545], 151, 51, 160, 60),
    thing([255546]),
    thing([255549], scene=1),
)


def entities(folder: Path, name: str = "65567", sentences: str = WEDDING, boxes: str | None = None) -> Path:
    for inner in ("Sentences", "Annotations"):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    (folder / "Sentences" / f"{name}.txt").write_text(sentences)
    boxes = annotation(*THINGS) if boxes is None else boxes
    (folder / "Annotations" / f"{name}.xml").write_text(boxes)
    return folder
