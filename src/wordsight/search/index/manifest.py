"""The folder of an index: its description, its copy of the model, its lock.

``index.json``      format, kind, precision, sizes, and the identity of the model that made the vectors
``model/``          that model, hard-linked if possible: an index is self-contained
``facts.sqlite``    see database.py
``vectors-*.bin``   and the other files of vector_files.py
``lock``            locked by the one process that may write
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wordsight import checkpoint
from wordsight.errors import AlreadyExistsError, InputError, MissingFileError
from wordsight.exported import FOLDER as EXPORT
from wordsight.files import plain_json
from wordsight.files.atomic import atomic_file, link_or_copy, recover, removed_on_failure, sync_folder
from wordsight.files.contained import check_links
from wordsight.files.fingerprint import content_of
from wordsight.files.index_folder import META, MODEL
from wordsight.files.lock import LOCK, locked
from wordsight.matcher import Matcher
from wordsight.presence.saved import FILE as PRESENCE
from wordsight.read.features.store import difference
from wordsight.search.index import database, photo_columns
from wordsight.search.index.schema_check import REMEDY
from wordsight.search.index.vector_files import PRECISIONS, Layout
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

FORMAT = 3
OLDEST = 1  # oldest format that is read without migration
KINDS = ("images", "texts")
MAX_DIM = 10**6
# Migrations from a format to the next; a kill leaves one of the two formats.
MIGRATIONS: dict[int, Callable[[Path], None]] = {
    1: photo_columns.add_taken,
    2: photo_columns.add_camera_and_place,
}


@dataclass(frozen=True)
class Meta:
    """Content of ``index.json``."""

    format: int
    kind: str  # "images" or "texts"
    precision: str
    dim: int
    unit: bool  # vectors have length 1: the model's similarity ignores their lengths
    model: str  # identity

    @property
    def layout(self) -> Layout:
        return Layout(self.dim, self.precision)


def read_meta(folder: Path) -> Meta:
    """Read ``index.json``. Raises MissingFileError if there is none, InputError for an unknown format."""
    if not (folder / META).is_file():
        raise MissingFileError(
            f"{folder} holds no {META}: it is not an index; make one: "
            f"wordsight index FOLDER --model MODEL --out {folder}"
        )
    check_links(folder, deep=False)
    fields = plain_json.read(folder / META, finite=True)
    version = fields.get("format") if isinstance(fields, dict) else None
    if type(version) is not int:
        raise InputError(
            f"{folder / META} does not describe an index (no format in it); restore a copy of it"
        )
    if version > FORMAT:
        raise InputError(
            f"{folder} has format {version}, newer than {FORMAT}, the newest known here; update wordsight"
        )
    if version < OLDEST:
        raise InputError(
            f"{folder} has format {version}; run wordsight index --out {folder} once: "
            f"it brings it to {FORMAT}"
        )
    wrong = [name for name, fits in _FITS.items() if name not in fields or not fits(fields[name])]
    wrong += [name for name in fields if name not in _FITS and name != "format"]
    if wrong:
        value = str(fields.get(wrong[0], "left out"))[:60]
        raise InputError(f"{folder / META} is damaged: {wrong[0]} is {value}", REMEDY)
    return Meta(**fields)


_FITS: dict[str, Callable[[Any], bool]] = {  # the valid values of index.json
    "kind": lambda value: value in KINDS,
    "precision": lambda value: value in PRECISIONS,
    "dim": lambda value: type(value) is int and 1 <= value <= MAX_DIM,
    "unit": lambda value: isinstance(value, bool),
    "model": lambda value: isinstance(value, str),
}


def migrate(folder: Path) -> None:
    """Migrate an older index to the current format, step by step; the caller holds the lock."""
    fields = plain_json.read(folder / META)
    while isinstance(fields, dict) and fields.get("format", FORMAT) < FORMAT:
        version = fields["format"]
        if version not in MIGRATIONS:
            raise InputError(f"{folder} has format {version}, which cannot be migrated to {version + 1}")
        MIGRATIONS[version](folder)
        fields = plain_json.read(folder / META) | {"format": version + 1}
        checkpoint.write_json(folder / META, fields)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the write lock inside the block. Raises StoreInUse if another process has it."""
    with locked(folder):
        yield


def create(folder: Path, model: Path, kind: str, precision: str, trust_remote_code: bool = False) -> Meta:
    """Create an empty index. ``index.json`` is written last: without it the next call starts over."""
    _one_of("kind", kind, KINDS)
    _one_of("precision", precision, PRECISIONS)
    _refuse_strangers(folder)
    matcher = Matcher.from_pretrained(model, trust_remote_code=trust_remote_code)
    matcher.build_all()  # a model that cannot be built leaves no folder behind
    dim, unit = dim_and_unit(matcher, kind)
    with removed_on_failure(folder), _locked_folder(folder), database.wrap_errors(folder):
        _refuse_strangers(folder)
        _clear(folder)
        _copy_model(model, folder / MODEL)
        database.create(folder)
        sync_folder(folder)
        meta = Meta(FORMAT, kind, precision, dim, unit, identity(folder / MODEL))
        checkpoint.write_json(folder / META, asdict(meta))
        return meta


def meta_of(model: Path, kind: str, precision: str, trust_remote_code: bool = False) -> Meta:
    """Facts of an index that this saved matcher fills. Raises InputError for a folder that is no model."""
    checkpoint.read_config(model)
    matcher = Matcher.from_pretrained(model, trust_remote_code=trust_remote_code)
    return Meta(FORMAT, kind, precision, *dim_and_unit(matcher, kind), identity(model))


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Create the folder and hold its write lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder):
        yield


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f'{what} = "{value}" is unknown; known: {", ".join(known)}')


def _refuse_strangers(folder: Path) -> None:
    """Raise AlreadyExistsError unless the folder has only the files of an interrupted creation."""
    if (folder / META).is_file():
        raise AlreadyExistsError(f"{folder} is an index already; open it, or choose another folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    strange = [name for name in there if not (LOCK in there and _is_own(name))]
    if strange:
        others = f" and {len(strange) - 1} others" if strange[1:] else ""
        raise AlreadyExistsError(
            f"{folder} holds {strange[0]}{others}, and is no index; "
            "choose a folder that is empty or not there yet"
        )


def _is_own(name: str) -> bool:
    own = {
        LOCK,
        MODEL,
        database.FACTS,
        f"{database.FACTS}-wal",
        f"{database.FACTS}-shm",
        f"{database.FACTS}-journal",
    }
    return name in own or name.startswith((f".{META}.", f".{MODEL}."))


def _clear(folder: Path) -> None:
    """Remove the files of an interrupted creation."""
    recover(folder / MODEL)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _copy_model(model: Path, target: Path) -> None:
    checkpoint.read_config(model)  # raises for a folder that is no model
    for source in model_files(model):
        (target / source.relative_to(model)).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source.resolve(), target / source.relative_to(model))


def model_files(model: Path) -> list[Path]:
    """The files of a saved matcher, without its card and hidden files."""
    there = [path for path in sorted(model.rglob("*")) if path.is_file()]
    return [
        path
        for path in there
        if path.name != "README.md" and not any(p.startswith(".") for p in path.relative_to(model).parts)
    ]


def identity(model: Path) -> str:
    """Hash of all files of a saved matcher but its probabilities and its export, which change no vector."""
    some = [path for path in model_files(model) if path.name != PRESENCE]
    paths = [path for path in some if path.relative_to(model).parts[0] != EXPORT]
    files = [[path.relative_to(model).as_posix(), content_of(path)] for path in paths]
    return hashlib.blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()


def adopt_presence(folder: Path, model: Path) -> bool:
    """Give an index the probabilities of a model whose vectors it holds; whether that changed anything."""
    source, target = model / PRESENCE, folder / MODEL / PRESENCE
    if not source.is_file() or (target.is_file() and content_of(source) == content_of(target)):
        return False
    with atomic_file(target) as file:
        file.write(source.read_bytes())
    return True


def check_model(folder: Path, meta: Meta, model: Path) -> None:
    """Raise InputError, naming the difference, if another model made the index."""
    if identity(model) == meta.model:
        return
    before, now = (_settings(place) for place in (folder / MODEL, model))
    raise InputError(
        f"{folder} was made by another model than {model} ({difference(before, now)}); "
        "vectors of two models cannot be compared: choose another folder, or leave --model out to go on "
        "with the one it was made by"
    )


def _settings(model: Path) -> dict[str, Any]:
    parts = checkpoint.read_config(model)["parts"]
    return {f"{part}.{key}": value for part, table in parts.items() for key, value in dict(table).items()}


def dim_and_unit(matcher: Matcher, kind: str) -> tuple[int, bool]:
    """Size of an embedding, and whether scores are independent of the lengths of vectors."""
    if kind == "images" and not hasattr(matcher.reader, "prepare"):
        raise InputError(
            f"this model's reader, {type(matcher.reader).__name__}, cannot read pictures, only stored "
            'features; an index needs a model with [reader] name = "backbone" or "pixels"'
        )
    with torch.no_grad():
        one = matcher.encode_texts(["a picture"])
        draw = torch.Generator().manual_seed(0)
        images, texts = (_drawn(draw, items if one.vectors.shape[1] > 1 else 1, one.dim) for items in (5, 3))
        changed = images if kind == "images" else texts
        lengths = torch.rand(changed.mask.shape, generator=draw) + 0.5
        longer = replace(changed, vectors=changed.vectors * lengths[..., None])
        pair = (longer, texts) if kind == "images" else (images, longer)
        unit = torch.allclose(matcher.similarity(images, texts), matcher.similarity(*pair), atol=1e-4)
    return one.dim, bool(unit)


def _drawn(draw: torch.Generator, items: int, dim: int) -> EmbeddingSet:
    return EmbeddingSet(torch.randn(4, items, dim, generator=draw), torch.ones(4, items, dtype=torch.bool))
