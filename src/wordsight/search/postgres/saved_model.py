"""The model of an index: stored on the server as bytes, unpacked once into the user's cache."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file, removed_on_failure
from wordsight.files.user_cache import cache_folder
from wordsight.search.index import manifest
from wordsight.search.postgres.server import Server

CHUNK_BYTES = 32 << 20  # of a file in one statement


def store(server: Server, model: Path) -> None:
    """Store all files of a saved matcher, in pieces that fit into one message."""
    with server.transaction() as connection:
        connection.execute("DELETE FROM file")
        for name, piece in _pieces(model):
            connection.execute("INSERT INTO file VALUES (%s, %s)", (name, piece))


def is_stored(server: Server, model: Path) -> bool:
    """Whether the server has these very files."""
    sums = {name: hashlib.md5(piece, usedforsecurity=False).hexdigest() for name, piece in _pieces(model)}
    return sums == dict(server.rows("SELECT name, md5(bytes) FROM file"))


def _pieces(model: Path) -> Iterator[tuple[str, bytes]]:
    for path in manifest.model_files(model):
        name, data = path.relative_to(model).as_posix(), path.read_bytes()
        for number, start in enumerate(range(0, max(1, len(data)), CHUNK_BYTES)):
            yield f"{name}#{number:06d}", data[start : start + CHUNK_BYTES]


def home(server: Server, identity: str) -> Path:
    """Folder of an index in the user's cache; made if it can be."""
    stamp = hashlib.blake2b(f"{server.url} {identity}".encode(), digest_size=10).hexdigest()
    folder = cache_folder() / "servers" / stamp
    if not (folder / manifest.META).is_file():
        with suppress(OSError), atomic_file(_made(folder) / manifest.META) as file:
            file.write(f'{{"server": "{stamp}"}}\n'.encode())
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unpacked(server: Server, folder: Path, identity: str) -> Path:
    """The model's folder, unpacked below ``folder`` at first use and checked against its identity."""
    pieces = server.rows("SELECT name, md5(bytes) FROM file ORDER BY name")
    stamp = hashlib.blake2b(repr(pieces).encode(), digest_size=10).hexdigest()
    model = folder / f"model-{stamp}"
    if not model.is_dir():
        partial = folder / f".model-{uuid4().hex}"
        with removed_on_failure(partial):
            _unpack(server, partial, identity)
            with suppress(OSError):  # another process was quicker
                partial.rename(model)
    return model


def check(server: Server, identity: str) -> None:
    """Raise InputError unless the stored model is the one that made the vectors."""
    with tempfile.TemporaryDirectory(prefix="wordsight-") as folder:
        _unpack(server, Path(folder), identity)


def _unpack(server: Server, folder: Path, identity: str) -> None:
    root = _made(folder).resolve()
    for (piece,) in server.rows("SELECT name FROM file ORDER BY name"):
        name, _, number = piece.rpartition("#")
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"the model in {server.url} names a file outside its folder: {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if int(number) else "wb") as file:
            file.write(server.value("SELECT bytes FROM file WHERE name = %s", (piece,)))
    found = manifest.identity(folder)
    if found != identity:
        raise InputError(f"the model in {server.url} is damaged: it is {found}; expected {identity}")
