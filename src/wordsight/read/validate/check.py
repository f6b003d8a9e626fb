"""A path -> what data it holds, what is wrong in it, where, and what to do (``wordsight data check``)."""

from pathlib import Path
from typing import Any

from wordsight.read.datasets.detect_format import open_dataset
from wordsight.read.validate.captions import check_texts, check_unknown
from wordsight.read.validate.report import Report


def check(
    path: str | Path, vocabulary: str | Path | None = None, rule: str | None = None, **settings: Any
) -> Report:
    """Check a data set in any format, and report all that is found, not only the first error.

    ``settings`` are those of the format: ``pictures``, the folder of the picture files where it is not beside
    the captions; ``caption_column`` and so on. With a ``vocabulary`` the share of unknown words is counted;
    ``rule`` parts words, by default the one that leaves the fewest. Feature files are read once, in chunks.
    Raises MissingFileError if the path does not exist, InputError if nothing there is known as data.
    """
    dataset = open_dataset(path, **settings)
    report = Report(Path(path), dataset.kind)
    try:
        splits = dataset.check(report)
        check_texts(splits, report)
        if vocabulary is not None:
            check_unknown(splits, Path(vocabulary), rule, report)
    except (ValueError, FileNotFoundError) as error:
        report.add_error(error, str(path))
    return report
