"""Problems that a user can fix: what is wrong, and the next step.

The command line prints them as one line, the REST interface answers them with a 4xx; all else is a bug, but
for what the system says of files, memory and packages (``user_message``).
"""

import errno

_TRAIN = ("torch", "transformers", "huggingface_hub")  # packages of the extra train
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
LONGEST = 1500  # characters of a message


class WordsightError(Exception):
    """A problem that the user can fix; ``message`` says what is wrong, ``hint`` the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        message = _one_line(message)
        super().__init__(message, hint) if hint else super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def _one_line(message: str) -> str:
    """The message on one line, also where it quotes a value of many; the middle of a very long one is cut."""
    line = " ".join(message.splitlines())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 500]} ... {line[-450:]}"


class InputError(WordsightError, ValueError):
    """A value, a setting or the content of a file that cannot be used."""


class MissingFileError(WordsightError, FileNotFoundError):
    """A file or folder that is not where it was expected."""


class AlreadyExistsError(WordsightError, FileExistsError):
    """A file or folder that would have been overwritten."""


class MissingPackageError(WordsightError, ModuleNotFoundError):
    """An optional package that is not installed; the hint names the extra."""


class MissingItemError(WordsightError, KeyError):
    """An item that is not in an index."""


class StorageError(WordsightError, OSError):
    """Data that cannot be written; what was stored before stays."""


class UnavailableError(WordsightError, ConnectionError):
    """A server that cannot be reached, or that ended a connection; the same request may succeed later."""


class NonFiniteError(WordsightError, FloatingPointError):
    """NaN or infinity where training needs a number."""


def user_message(error: BaseException, verb: str = "this") -> str | None:
    """The line for an error that a user can fix; None for a bug. ``verb``: the command that failed.

    That is a WordsightError; an OSError that names a file or says that the disk or the process is full; a
    package that is not installed; and too little memory.
    """
    if isinstance(error, WordsightError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        if error.errno in _NO_ROOM:
            return f"a file could not be written: {(error.strerror or '').lower()}"
    package = absent_package(error)
    if package:
        wanted = "'wordsight[train]'" if is_for_training(error) else package
        return f"{verb} needs {package}, which is not installed: pip install {wanted}"
    if _is_out_of_memory(error):
        return "there is not enough memory for this; give smaller sizes or batches"
    return None


def absent_package(error: BaseException) -> str:
    """The package that is not installed; empty for another error, and for a module of ours."""
    named = isinstance(error, ModuleNotFoundError) and not isinstance(error, WordsightError) and error.name
    package = named.split(".")[0] if named else ""
    return "" if package == "wordsight" else package


def is_for_training(error: BaseException) -> bool:
    """Whether an error says that a package of the extra train is not installed."""
    return absent_package(error) in _TRAIN


def _is_out_of_memory(error: BaseException) -> bool:
    """Also of torch, whose own errors for the CPU are plain RuntimeErrors."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
