"""A picture of this machine -> opened in the system's viewer, or shown in its file manager."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from wordsight.errors import InputError
from wordsight.web.security import AccessPolicy

Where = Literal["viewer", "folder"]
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")  # of a session with windows, on Linux
FILE_MANAGER = ("org.freedesktop.FileManager1", "/org/freedesktop/FileManager1")


def shows_files(policy: AccessPolicy) -> bool:
    """Whether a server of this policy opens files on its screen."""
    return policy.is_local and has_desktop()


def has_desktop() -> bool:
    """Whether this process can open windows."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in SCREENS) and shutil.which("xdg-open") is not None


def show_file(file: Path, where: Where) -> None:
    """Open a file, or its folder with the file selected. Raises InputError if the system refuses."""
    commands = _commands(file.absolute(), where)
    for command in commands:
        if _done(command):
            return
    raise InputError(f"{file} could not be opened: {commands[-1][0]} failed", "open it by hand")


def _commands(file: Path, where: Where) -> list[list[str]]:
    """Commands to try, one after the other; none goes through a shell."""
    if sys.platform == "darwin":
        return [["open", "-R", str(file)] if where == "folder" else ["open", str(file)]]
    if sys.platform == "win32":
        return [["explorer", f"/select,{file}"] if where == "folder" else ["explorer", str(file)]]
    if where == "viewer":
        return [["xdg-open", str(file)]]
    name, place = FILE_MANAGER
    address = file.as_uri().replace(",", "%2C")  # dbus-send separates what it lists by commas
    select = ["dbus-send", "--session", "--print-reply", f"--dest={name}", place, f"{name}.ShowItems"]
    return [[*select, f"array:string:{address}", "string:"], ["xdg-open", str(file.parent)]]


def _done(command: Sequence[str]) -> bool:
    """Run a command; one that is still running after some seconds shows the file."""
    try:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError:
        return False
    try:
        return running.wait(5) == 0 or command[0] == "explorer"  # which always says 1
    except subprocess.TimeoutExpired:
        return True
