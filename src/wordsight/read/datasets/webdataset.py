"""WebDataset shards (tar files in which the members of one picture share a key) -> PairSet.

Read are a picture (``KEY.jpg``, ``.png``...) with the ``captions`` or the ``caption`` of ``KEY.json``, or the
lines of ``KEY.txt``; in the JSON, ``name`` and ``identity`` may say more.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.documents import decoded
from wordsight.read.datasets.columns import known_columns
from wordsight.read.datasets.shard_samples import Sample
from wordsight.read.datasets.shards import ShardDataset
from wordsight.read.datasets.values import captions_of
from wordsight.read.pictures.walk import PICTURE_SUFFIXES

SUFFIX = ".tar"


class WebDataset(ShardDataset):
    """``SPLIT-00000-of-00001.tar``, ``SPLIT-000000.tar`` or img2dataset's ``00000.tar``, also in subfolders.

    Identities are those of the ``.json``; pictures without one are each their own. ``caption_column``: the
    key of the captions in the ``.json``, by default found by its name. ``drop_empty`` leaves out pictures
    without a caption. ``split`` ("80/10/10") divides shards without splits by picture, in the order that
    ``seed`` draws.
    """

    kind = "WebDataset shards"
    suffix = SUFFIX
    without_splits = (
        "name the shards by their split (train-000000.tar), lay them in folders train, val and test, or "
        "divide the pictures by chance: --split 80/10/10, or split under [data]"
    )

    def __init__(
        self,
        path: str | Path,
        caption_column: str | None = None,
        split: str | None = None,
        seed: int = 0,
        drop_empty: bool = False,
    ) -> None:
        self.path, self.caption_column, self.drop_empty = path, caption_column, drop_empty
        self.shares, self.seed = split, seed

    def scan(self, shard: Path, number: int) -> Iterator[Sample]:
        """The pictures themselves are not read."""
        try:
            with tarfile.open(shard, "r:") as tar:
                for place, (key, group) in enumerate(groupby(_files(tar), _key)):
                    members = {_suffix(member): member for member in group}
                    found = Group(tar, f"{shard}: {key} (sample {place})", key, members)
                    yield found.sample(number, place, self.caption_column)
                _must_have_ended(shard, tar.offset)
        except tarfile.TarError as error:
            raise InputError(f"{shard} is cut short or damaged ({error}); fetch or write it again") from error

    def pick(self, shard: Path, sample: Sample) -> bytes:
        with shard.open("rb") as file:
            file.seek(sample.start)
            return file.read(sample.size)


@dataclass(frozen=True)
class Group:
    """The members of a tar file that share a key, by suffix."""

    tar: tarfile.TarFile
    where: str  # shard, key and number
    key: str
    members: dict[str, tarfile.TarInfo]

    def sample(self, shard: int, number: int, caption_column: str | None) -> Sample:
        """The picture's place in the shard and its captions, which may be none."""
        suffix = next((suffix for suffix in self.members if suffix in PICTURE_SUFFIXES), None)
        if suffix is None:
            raise InputError(self._without_picture())
        said = self._json()
        name, identity = said.get("name") or self.key + suffix, said.get("identity")
        if not isinstance(name, str) or not isinstance(identity, int | None):
            raise InputError(
                f"{self.where} has name = {name!r}, identity = {identity!r}; expected text and a number"
            )
        picture = self.members[suffix]
        texts = self._texts(said, caption_column)
        return Sample(shard, number, picture.offset_data, picture.size, name, identity, texts)

    def _without_picture(self) -> str:
        found = ", ".join(self.members)
        if any(os.path.splitext(suffix)[1] in PICTURE_SUFFIXES for suffix in self.members):
            return (
                f"{self.where} has no picture, only {found}: the first dot in a member's name ends its key, "
                f"here {self.key}; write names without other dots, for instance with _ in their place"
            )
        return f"{self.where} has no picture, only {found}; expected {self.key}.jpg beside it"

    def _json(self) -> dict[str, Any]:
        if ".json" not in self.members:
            return {}
        try:
            said = json.loads(self._content(".json"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.where}: its .json is not valid ({error}); write it again") from error
        if not isinstance(said, dict):
            raise InputError(
                f"{self.where}: its .json holds {str(said)[:40]!r}; expected an object with captions"
            )
        return said

    def _texts(self, said: dict[str, Any], caption_column: str | None) -> list[str]:
        """The captions of the ``.json``, or else the lines of the ``.txt``; none of them is empty."""
        plain = [name for name in ("captions", "caption") if name in said]
        known = plain or known_columns("caption", list(said))
        column = caption_column or next(iter(known), None)
        found = [] if column is None else captions_of(said.get(column), column, self.where)
        texts = [text for text, _ in found if text]
        if texts or ".txt" not in self.members:
            return texts
        lines = decoded(self._content(".txt"), f"{self.where} .txt").split("\n")
        return [line.strip() for line in lines if line.strip()]

    def _content(self, suffix: str) -> bytes:
        file = self.tar.extractfile(self.members[suffix])
        return b"" if file is None else file.read()


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members that are files; macOS adds a hidden one (``._1.jpg``) for each of its own."""
    return (member for member in tar if member.isfile() and not _is_hidden(member.name))


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.removeprefix("./").split("/"))


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
