"""Pictures with captions, as a caption file names them -> findings, and the captions of every split."""

from collections.abc import Sequence

from wordsight.read.datasets.records import Captioned
from wordsight.read.validate.captions import Texts
from wordsight.read.validate.pictures import check_pictures
from wordsight.read.validate.report import Report


def check_items(items: Sequence[Captioned], folder_given: bool, report: Report) -> list[Texts]:
    """Picture files and captions; captions alone where no picture is there and no folder was given."""
    if not folder_given and not any(item.picture.is_file() for item in items):
        report.add(
            "warning",
            f"none of the {len(items):,} pictures is there, so only the captions were checked",
            f"expected for example {items[0].picture}",
            "give the folder of the pictures: --pictures FOLDER",
        )
    else:
        check_pictures(items, report)
    splits: dict[str, list[Captioned]] = {}
    for item in items:
        splits.setdefault(item.split or "all", []).append(item)
    return [_texts(split, chosen) for split, chosen in splits.items()]


def note_without_splits(items: Sequence[Captioned], remedy: str, report: Report) -> None:
    """A warning where no picture has a split: such data can be searched, but no model is trained on it."""
    if not any(item.split for item in items):
        report.add(
            "warning",
            f"no splits: train cannot tell training from validation; pictures: {len(items):,}",
            str(report.path),
            f"nothing, to index or to extract features; to train, {remedy}",
        )


def _texts(split: str, items: Sequence[Captioned]) -> Texts:
    places = [place for item in items for place in item.places]
    return Texts(
        split=split,
        names=[item.name for item in items],
        texts=[text for item in items for text in item.texts],
        image_of=[row for row, item in enumerate(items) for _ in item.texts],
        place=places.__getitem__,
    )
