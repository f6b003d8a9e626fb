"""Problems that a user can fix: what is wrong, and the next step.

The command line prints them as one line, the REST interface answers them with a 4xx; all else is a bug.
"""


class WordsightError(Exception):
    """A problem that the user can fix; ``message`` says what is wrong, ``hint`` the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint) if hint else super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class InputError(WordsightError, ValueError):
    """A value, a setting or the content of a file that cannot be used."""


class MissingFileError(WordsightError, FileNotFoundError):
    """A file or folder that is not where it was expected."""


class AlreadyExistsError(WordsightError, FileExistsError):
    """A file or folder that would have been overwritten."""


class MissingPackageError(WordsightError, ModuleNotFoundError):
    """An optional package that is not installed; the hint names the extra."""
