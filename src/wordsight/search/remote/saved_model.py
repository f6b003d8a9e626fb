"""The model of an index on a server: stored there in pieces, unpacked once into the user's cache."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file, removed_on_failure
from wordsight.files.index_folder import META
from wordsight.files.user_cache import cache_folder
from wordsight.presence.saved import FILE as PRESENCE
from wordsight.search.index import manifest


class StoredFiles(Protocol):
    """Pieces of files on a server, by name; ``name`` is what messages call the index."""

    @property
    def name(self) -> str: ...
    def sums(self) -> dict[str, str]:
        """The MD5 of every piece."""

    def read(self, piece: str) -> bytes: ...
    def write_files(self, pieces: Iterable[tuple[str, bytes]]) -> None: ...


def pieces(model: Path, chunk_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each piece of the files of a saved matcher."""
    for path in manifest.model_files(model):
        name, data = path.relative_to(model).as_posix(), path.read_bytes()
        for number, start in enumerate(range(0, max(1, len(data)), chunk_bytes)):
            yield f"{name}#{number:06d}", data[start : start + chunk_bytes]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def adopt_presence(files: StoredFiles, model: Path, chunk_bytes: int) -> None:
    """Store a saved matcher that has probabilities, unless the server has its very files."""
    own = {name: md5(piece) for name, piece in pieces(model, chunk_bytes)}
    if (model / PRESENCE).is_file() and own != files.sums():
        files.write_files(pieces(model, chunk_bytes))


def home(address: object, identity: str) -> Path:
    """Folder of an index in the user's cache; made if it can be."""
    stamp = hashlib.blake2b(f"{address} {identity}".encode(), digest_size=10).hexdigest()
    folder = cache_folder() / "servers" / stamp
    if not (folder / META).is_file():
        with suppress(OSError), atomic_file(_made(folder) / META) as file:
            file.write(f'{{"server": "{stamp}"}}\n'.encode())
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unpacked(files: StoredFiles, folder: Path, identity: str) -> Path:
    """The model's folder, unpacked below ``folder`` at first use and checked against its identity."""
    stamp = hashlib.blake2b(repr(sorted(files.sums().items())).encode(), digest_size=10).hexdigest()
    model = folder / f"model-{stamp}"
    if not model.is_dir():
        partial = folder / f".model-{uuid4().hex}"
        with removed_on_failure(partial):
            _unpack(files, partial, identity)
            with suppress(OSError):  # another process was quicker
                partial.rename(model)
    return model


def check(files: StoredFiles, identity: str) -> None:
    """Raise InputError unless the stored model is the one that made the vectors."""
    with tempfile.TemporaryDirectory(prefix="wordsight-") as folder:
        _unpack(files, Path(folder), identity)


def _unpack(files: StoredFiles, folder: Path, identity: str) -> None:
    root = _made(folder).resolve()
    for piece in sorted(files.sums()):
        name, _, number = piece.rpartition("#")
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"the model in {files.name} names a file outside its folder: {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if int(number) else "wb") as file:
            file.write(files.read(piece))
    found = manifest.identity(folder)
    if found != identity:
        raise InputError(f"the model in {files.name} is damaged: it is {found}; expected {identity}")
