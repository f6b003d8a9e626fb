"""Names of columns -> which one holds the picture, the caption, the split, the identity."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from wordsight.errors import InputError
from wordsight.read.pictures.walk import is_picture

KNOWN = {  # of the field's data sets and programs; compared without case, "_", "-" and spaces
    "image": ("image", "image_path", "filepath", "file_name", "filename", "image_name", "image_file",
              "image_filename", "file", "path", "picture", "picture_path", "photo", "img", "img_path",
              "img_file", "img_name"),
    "caption": ("caption", "captions", "text", "texts", "sentence", "sentences", "description",
                "descriptions", "comment", "comments", "raw"),
    "split": ("split", "partition", "subset"),
    "identity": ("identity", "person_id", "person", "pid"),
}  # fmt: skip
SECOND = {  # taken where none of the others is there, the first of them that is
    "image": ("image_id", "img_id", "name", "key", "id", "image_url", "img_url", "url"),
    "caption": ("title", "alt_text", "alt", "prompt", "query"),
}


@dataclass(frozen=True)
class Columns:
    """The columns of a table; None: found by its name, and split and identity may be absent."""

    image: str | None = None
    caption: str | None = None
    split: str | None = None
    identity: str | None = None

    def among(self, names: Sequence[str], path: Path) -> "Columns":
        """The columns by name. Raises InputError, which names the option, if one is not found."""
        return Columns(
            image=find_column("image", self.image, names, path),
            caption=find_column("caption", self.caption, names, path),
            split=find_column("split", self.split, names, path, needed=False),
            identity=find_column("identity", self.identity, names, path, needed=False),
        )


def find_column(
    what: str, given: str | None, names: Sequence[str], path: Path, needed: bool = True
) -> str | None:
    """The column that was given, or the only one whose name says that it holds this."""
    if given is not None:
        if given not in names:
            raise InputError(f"{path} has no column {given!r} ({setting(what)}); it has {', '.join(names)}")
        return given
    found = known_columns(what, names)
    if len(found) > 1:
        raise InputError(
            f"{path}: {' and '.join(found)} may each be the {what} column; name one: {setting(what)}"
        )
    if needed and not found:
        raise InputError(_not_found(what, names, path))
    return found[0] if found else None


def known_columns(what: str, names: Sequence[str]) -> list[str]:
    """The columns whose names say that they hold this; one of the second choice only if there is no other."""
    first = [_plain(name) for name in KNOWN[what]]
    found = [name for name in names if _plain(name) in first]
    second = (name for known in SECOND.get(what, ()) for name in names if _plain(name) == _plain(known))
    return found or list(islice(second, 1))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def setting(what: str) -> str:
    """How a column is named: the option of the commands, and the setting of a configuration."""
    option = "" if what == "identity" else f"--{what}-column NAME, or "
    return f"{option}{what}_column under [data]"


def _not_found(what: str, names: Sequence[str], path: Path) -> str:
    if any(is_picture(name) for name in names):
        return (
            f"{path}: its first line, {', '.join(names)[:80]}, seems to be data, not names of columns; "
            "put image,caption on a line before it"
        )
    return (
        f"{path}: no column looks like the {what} ({', '.join(KNOWN[what][:4])}, ...) among "
        f"{', '.join(names)}; name it: {setting(what)}"
    )
