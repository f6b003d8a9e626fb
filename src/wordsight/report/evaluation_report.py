"""A measured model -> its report page, with examples from all over the split."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wordsight.builder import Builder
from wordsight.errors import InputError
from wordsight.files.toml import changed
from wordsight.pairs import Picture, PictureFiles
from wordsight.report.examples import make_examples
from wordsight.report.html import write_report
from wordsight.runs.measuring import Measured

EXAMPLES = 12


def write_page(
    path: Path,
    title: str,
    measured: Measured,
    history: Sequence[Mapping[str, Any]] = (),
    pictures: Path | None = None,
) -> Path:
    """Examples are shown on the pictures themselves, also where the model was measured on stored features.

    ``pictures`` is their folder, where the data does not say it. A page without pictures has no examples.
    """
    count = len(measured.pairs)
    rows = range(0, count, max(1, count // EXAMPLES))[:EXAMPLES]
    examples = []
    if has_pictures(measured, pictures):
        examples = make_examples(measured.matcher, measured.pairs, rows, _pictures(measured, pictures))
    settings = measured.config.complete().tables
    return write_report(path, title, measured.recalls, measured.pointing, history, examples, settings)


def has_pictures(measured: Measured, pictures: Path | None = None) -> bool:
    """Whether there are pictures to show, and not only precomputed features."""
    named = pictures is not None or measured.config.splits.features is not None
    return named or isinstance(measured.pairs.images.read([0]), list)


def _pictures(measured: Measured, folder: Path | None) -> list[Picture] | None:
    """The picture files behind features; None where the images are pictures already."""
    config = measured.config
    if folder is None and config.splits.features is None:
        return None
    if folder is not None:
        tables = changed(config.tables, {"data": {"pictures": str(folder.absolute())}})
        config = replace(config, tables=tables)
    shown = Builder(config).captioned(measured.split)
    if not isinstance(shown.images, PictureFiles):
        return None
    files = dict(zip(shown.names, shown.images.paths, strict=True))
    absent = [name for name in measured.pairs.names if name not in files]
    if absent:
        raise InputError(
            f"{folder or shown.source} has no picture for {len(absent)} of {len(measured.pairs.names)} "
            f"images, the first {absent[0]}; give their folder with --pictures"
        )
    return [files[name] for name in measured.pairs.names]
