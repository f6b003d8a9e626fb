"""A folder -> the picture files in it and below, and what was left out or skipped on the way.

Left out are hidden names (a dot before them), folders that a NAS or a system keeps for itself, folders with a
``.nomedia`` file, and what ``--exclude`` names. Pipes, sockets and devices are skipped: nobody opens them.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from wordsight.errors import InputError
from wordsight.files.fingerprint import stat_regular
from wordsight.read.pictures.signature import has_picture_signature

PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif",
    ".tif", ".tiff", ".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm",
    ".heic", ".heif", ".hif",  # opened with the extra heic
)  # fmt: skip
PICTURE_KINDS = f"{len(PICTURE_SUFFIXES)} kinds: .jpg, .png, .heic, ..."  # for messages
SYSTEM_FOLDERS = frozenset({
    "@eadir", "#recycle", "#snapshot", "@tmp",  # Synology
    "@recycle", "@recently-snapshot", "@__thumb",  # QNAP
    "$recycle.bin", "system volume information",  # Windows
    "lost+found", "__macosx",
})  # fmt: skip
NO_MEDIA = ".nomedia"


@dataclass(frozen=True)
class WalkRules:
    """Further patterns that a walk leaves out, and whether it follows links.

    ``exclude``       patterns as in a .gitignore: ``raw``, ``raw/``, ``*.gif``, ``2019/**/drafts``
    ``follow_links``  read folders behind links too, each folder once
    """

    exclude: tuple[str, ...] = ()
    follow_links: bool = False

    def __post_init__(self) -> None:
        _ = self._patterns  # a wrong pattern is an error now

    @cached_property
    def _patterns(self) -> Any:
        if not self.exclude:
            return None
        from pathspec import GitIgnoreSpec

        try:
            return GitIgnoreSpec.from_lines(self.exclude)
        except ValueError as error:
            raise InputError(f"--exclude: {error}", "write it as in a .gitignore: raw/, *.gif") from error

    def excludes(self, path: bytes, root: bytes, is_folder: bool) -> bool:
        if self._patterns is None:
            return False
        below = os.fsdecode(os.path.relpath(path, root)).replace(os.sep, "/")
        return bool(self._patterns.match_file(f"{below}/" if is_folder else below))

    def changed(self, exclude: Sequence[str] | None, follow_links: bool | None) -> "WalkRules | None":
        """These rules with what was given; None if nothing was. ``[""]`` ends all exclusions."""
        if not exclude and follow_links is None:
            return None
        patterns = tuple(filter(None, exclude)) if exclude else self.exclude
        return WalkRules(patterns, self.follow_links if follow_links is None else follow_links)


@dataclass
class WalkNotes:
    """Files that are no pictures, met by a walk; paths are as ``os.fsdecode`` gives them."""

    closed: list[tuple[str, str]] = field(default_factory=list)  # folders that cannot be read, and why
    skipped: list[tuple[str, str]] = field(default_factory=list)  # files
    left_out: Counter[str] = field(default_factory=Counter)  # how many folders or files by reason
    links: list[str] = field(default_factory=list)  # to folders, which were read


class FoundFile(NamedTuple):
    """A regular file: a picture, or the text of one."""

    path: bytes
    status: os.stat_result
    is_picture: bool


def left_out_text(left_out: Counter[str]) -> str:
    """One line: how many folders and files were left out, by the reason; empty if none were."""
    parts = ", ".join(f"{reason} ({count:,})" for reason, count in left_out.most_common())
    return f"left out: {parts}" if parts else ""


def is_picture(name: str) -> bool:
    """Whether the suffix is one of a picture."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def is_picture_file(path: str | Path | bytes) -> bool:
    """Whether it is a picture by its suffix; without a suffix, by its content."""
    name = os.path.basename(os.fsdecode(path))
    return is_picture(name) or (not os.path.splitext(name)[1] and has_picture_signature(path))


def is_hidden(name: str | bytes) -> bool:
    """Whether a dot stands before the name, as before ``.thumbnails``, ``.Trash`` and macOS' ``._1.jpg``."""
    return os.fsencode(name).startswith(b".")


def pictures_below(
    folder: str | Path, rules: WalkRules | None = None, notes: WalkNotes | None = None
) -> Iterator[Path]:
    """The pictures, in no order."""
    found = walk(os.fsencode(folder), rules or WalkRules(), notes or WalkNotes())
    return (Path(os.fsdecode(file.path)) for file in found if file.is_picture)


def walk(root: bytes, rules: WalkRules, notes: WalkNotes, leave_out: bytes = b"") -> Iterator[FoundFile]:
    """Pictures and ``.txt`` files with their stamps; a root is read whatever it is called.

    ``leave_out``: the path of one more folder. Links to files count as files.
    """
    if os.path.lexists(root) and not os.path.isdir(root):
        yield from _file(root, notes)
        return
    folders, links, seen = [root], list[bytes](), set[tuple[int, int]]()
    while folders or links:
        is_link = not folders  # links last: no other path depends on them
        folder = links.pop() if is_link else folders.pop()
        if rules.follow_links and not _is_new(folder, seen):
            notes.left_out["links to folders read already"] += 1
            continue
        if is_link:
            notes.links.append(os.fsdecode(folder))
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name) or entry.path == leave_out:
                        continue
                    if not _is_folder(entry):
                        if _may_count(entry.name) and not _is_excluded(entry, root, rules, notes):
                            yield from _file(entry.path, notes)
                    elif _is_wanted(entry, root, rules, notes):
                        (links if entry.is_symlink() else folders).append(entry.path)
        except OSError as error:
            notes.closed.append((os.fsdecode(folder), (error.strerror or str(error)).lower()))


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Also a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_wanted(entry: os.DirEntry[bytes], root: bytes, rules: WalkRules, notes: WalkNotes) -> bool:
    """Whether a folder is walked; if not, the notes say why."""
    name = os.fsdecode(entry.name)
    if name.lower() in SYSTEM_FOLDERS:
        notes.left_out[name] += 1
    elif name == "resources" and os.path.dirname(entry.path).endswith(b".photoslibrary"):
        notes.left_out["copies made by a Photos library"] += 1
    elif os.path.lexists(os.path.join(entry.path, os.fsencode(NO_MEDIA))):
        notes.left_out[f"folders with {NO_MEDIA}"] += 1
    elif entry.is_symlink() and not rules.follow_links:
        notes.left_out["links to folders, see --follow-links"] += 1
    else:
        return not _is_excluded(entry, root, rules, notes)
    return False


def _is_excluded(entry: os.DirEntry[bytes], root: bytes, rules: WalkRules, notes: WalkNotes) -> bool:
    excluded = rules.excludes(entry.path, root, _is_folder(entry))
    if excluded:
        notes.left_out["named by --exclude"] += 1
    return excluded


def _is_new(folder: bytes, seen: set[tuple[int, int]]) -> bool:
    try:
        status = os.stat(folder)
    except OSError:
        return True  # reading it will say why
    mark = (status.st_dev, status.st_ino)
    is_new = mark not in seen
    seen.add(mark)
    return is_new


def _may_count(name: bytes) -> bool:
    """Whether the name is one of a picture or a text, or has no suffix, so that its content has to tell."""
    suffix = os.path.splitext(name)[1]
    return not suffix or suffix == b".txt" or is_picture(os.fsdecode(name))


def _file(path: bytes, notes: WalkNotes) -> Iterator[FoundFile]:
    """The file, if it is a regular one; a picture that is none is noted."""
    name = os.fsdecode(os.path.basename(path))
    if not _may_count(os.fsencode(name)):
        return
    try:
        status = stat_regular(path)
    except OSError as error:
        if is_picture(name):
            notes.skipped.append((os.fsdecode(path), (error.strerror or str(error)).lower()))
        return
    if name.endswith(".txt") or is_picture_file(path):
        yield FoundFile(path, status, not name.endswith(".txt"))
