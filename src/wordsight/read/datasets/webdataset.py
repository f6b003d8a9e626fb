"""WebDataset shards (tar files in which the members of one picture share a key) -> PairSet.

Read are a picture (``KEY.jpg``, ``.png``...) with the ``captions`` or the ``caption`` of ``KEY.json``, or the
lines of ``KEY.txt``; in the JSON, ``name`` and ``identity`` may say more.
"""

import json
import tarfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.pairs import PairSet
from wordsight.read.datasets.records import placed
from wordsight.read.datasets.shards import Sample, find_shards, shard_pairs
from wordsight.read.pictures.walk import PICTURE_SUFFIXES

SUFFIX = ".tar"


def read_webdataset(path: str | Path, split: str) -> PairSet:
    """The pairs of ``SPLIT-00000-of-00001.tar``, or ``SPLIT-000000.tar``, and so on in a folder.

    Identities are those of the ``.json``; pictures without one are each their own.
    Raises FileNotFoundError for absent shards, ValueError with shard and key for what is damaged.
    """
    folder = placed(path, split)
    return shard_pairs(folder, split, find_shards(folder, split, SUFFIX), scan, pick)


def scan(shard: Path, number: int) -> Iterator[Sample]:
    """What each group of members says; the pictures themselves are not read."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for place, (key, members) in enumerate(groupby(_files(tar), _key)):
                yield _sample(tar, shard, number, place, key, {_suffix(one): one for one in members})
            _must_have_ended(shard, tar.offset)
    except tarfile.TarError as error:
        raise InputError(f"{shard} is cut short or damaged ({error}); fetch or write it again") from error


def pick(shard: Path, sample: Sample) -> bytes:
    with shard.open("rb") as file:
        file.seek(sample.start)
        return file.read(sample.size)


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (member for member in tar if member.isfile())


def _key(member: tarfile.TarInfo) -> str:
    """The name up to the first dot of its last part."""
    folder, slash, name = member.name.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _suffix(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix(_key(member)).lower()


def _must_have_ended(shard: Path, at: int) -> None:
    """A block of zeros is there; tarfile takes a damaged header, or a cut between members, for the end."""
    with shard.open("rb") as file:
        file.seek(at)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"at byte {at:,} is neither a member nor the end")


def _sample(
    tar: tarfile.TarFile, shard: Path, number: int, place: int, key: str, members: dict[str, tarfile.TarInfo]
) -> Sample:
    where = f"{shard}: {key} (sample {place})"
    picture = next((suffix for suffix in members if suffix in PICTURE_SUFFIXES), None)
    if picture is None:
        raise InputError(f"{where} has no picture, only {', '.join(members)}; expected {key}.jpg beside it")
    said = _json(tar, members, where)
    start, size = members[picture].offset_data, members[picture].size
    name, identity = said.get("name", key + picture), said.get("identity")
    if not isinstance(name, str) or not isinstance(identity, int | None):
        raise InputError(f"{where} has name = {name!r}, identity = {identity!r}; expected text and a number")
    return Sample(number, place, start, size, name, identity, _texts(tar, members, said, where))


def _json(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], where: str) -> dict[str, Any]:
    if ".json" not in members:
        return {}
    try:
        said = json.loads(_content(tar, members[".json"]))
    except ValueError as error:
        raise InputError(f"{where}: its .json is not valid ({error}); write it again") from error
    if not isinstance(said, dict):
        raise InputError(f"{where}: its .json holds {str(said)[:40]!r}; expected an object with captions")
    return said


def _texts(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], said: dict[str, Any], where: str
) -> list[str]:
    told = said.get("captions", said.get("caption"))
    if told is None and ".txt" in members:
        told = _content(tar, members[".txt"]).decode(errors="replace").split("\n")
    texts: Sequence[Any] = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    kept = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    if not kept:
        raise InputError(
            f"{where} has no caption; expected captions in its .json or lines in its .txt: it has "
            f"{', '.join(members)}"
        )
    return kept


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()
