"""Ids of a precomputed folder -> picture files, by VSE-infinity's ``id_mapping.json`` or by their names."""

from collections.abc import Sequence
from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_json
from wordsight.pairs import PictureFiles
from wordsight.read.datasets.picture_names import PictureFolder, picture_folder


def read_id_mapping(path: str | Path, ids: Sequence[str], pictures: str | Path | None = None) -> PictureFiles:
    """The picture files of these ids, through a JSON object {id: file name}.

    ``pictures`` defaults to the folder beside it named ``images`` (COCO) or ``flickr30k-images``.
    Raises InputError for ids that are not mapped, MissingFileError for absent files.
    """
    source = Path(path)
    mapping = read_json(source)
    if not isinstance(mapping, dict):
        raise InputError(
            f"{source} holds a JSON {type(mapping).__name__}; expected an object: id -> file name"
        )
    unknown = [name for name in ids if name not in mapping]
    if unknown:
        raise InputError(
            f"{source} does not map {len(unknown)} of {len(ids)} ids, the first {unknown[0]!r}; "
            f"its {len(mapping)} keys start with {next(iter(mapping), None)!r}: is it of the same data set?"
        )
    names = [str(mapping[name]) for name in ids]
    return picture_files(names, picture_folder(source, pictures), source)


def picture_files(names: Sequence[str], folder: PictureFolder, source: Path) -> PictureFiles:
    """Files of a folder by name, all of which must exist."""
    paths = [folder.find(name) for name in names]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise MissingFileError(
            f"{source}: pictures that do not exist: {len(absent)} of {len(paths)}, the first {absent[0]}",
            "give the folder that holds them: --pictures FOLDER, or pictures under [data]",
        )
    return PictureFiles(paths)
