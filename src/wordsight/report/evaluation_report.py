"""A measured model -> its report page, with examples from all over the split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wordsight.pairs import Picture, PictureFiles
from wordsight.report.examples import make_examples
from wordsight.report.html import write_report
from wordsight.runs import Measured

EXAMPLES = 12


def write_page(path: Path, title: str, measured: Measured, history: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Examples are shown on the pictures themselves, also where the model was measured on stored features."""
    count = len(measured.pairs)
    rows = range(0, count, max(1, count // EXAMPLES))[:EXAMPLES]
    examples = make_examples(measured.matcher, measured.pairs, rows, _pictures(measured))
    settings = measured.config.complete().tables
    return write_report(path, title, measured.recalls, measured.pointing, history, examples, settings)


def _pictures(measured: Measured) -> list[Picture] | None:
    """The picture files behind stored features; None where the images are pictures already."""
    if measured.config.splits.features is None:
        return None
    images = measured.config.captioned(measured.split).images
    return list(images.paths) if isinstance(images, PictureFiles) else None
