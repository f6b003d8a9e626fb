"""A published vocabulary in, SCAN's JSON or a pickle of VSE++ or of CMPL's port; our Vocabulary out."""

import copyreg
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.read.text.vocabulary import SPECIALS, Vocabulary

# vocab.py run as a program pickles its class as __main__.Vocabulary; CHAN and VSE-infinity keep it in lib.
CLASSES = {("vocab", "Vocabulary"), ("lib.vocab", "Vocabulary"), ("__main__", "Vocabulary")}
START, END = "<START>", "<END>"  # as the port of CMPL writes them


def read_vocabulary(path: str | Path) -> Vocabulary:
    """The words by id. A pickle may hold a Vocabulary of the VSE family and texts and numbers, no more."""
    path = Path(path).expanduser()
    if not path.is_file() or _is_json(path):
        return Vocabulary.load(path)
    content = _unpickled(path)
    if not isinstance(content, _Pickled):
        raise InputError(f"{path} holds no Vocabulary, but {type(content).__name__}; {_what_belongs()}")
    return vocabulary_of(vars(content).get("word2idx"), str(path))


def read_word_ranks(path: str | Path) -> list[str]:
    """The words of ``word_to_index.pkl`` or of such a table as JSON, in the order of their ids (from 0)."""
    import json

    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingFileError(f"there is no vocabulary {path}; the port writes word_to_index.pkl")
    content = json.loads(path.read_text(encoding="utf-8")) if _is_json(path) else _unpickled(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} is no table of words and ids; the port writes word_to_index.pkl")
    return list(_in_order(content, str(path)))


def vocabulary_of(places: Any, source: str) -> Vocabulary:
    """A table of words and ids as a Vocabulary."""
    if not isinstance(places, Mapping):
        raise InputError(f"{source} has no word2idx; {_what_belongs()}")
    return Vocabulary(_in_order(places, source))


def _in_order(places: Mapping[Any, Any], source: str) -> tuple[str, ...]:
    words = sorted(places, key=lambda word: places[word])
    for place, word in enumerate(words):
        if not isinstance(word, str) or places[word] != place:
            raise InputError(
                f"{source}: the word {word!r} has id {places[word]}, where {place} was expected; the ids of "
                f"{len(words)} words run from 0 to {len(words) - 1} without gaps"
            )
    return tuple(words)


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


class _Pickled:
    """Stands in for the class of a pickled vocabulary: only its attributes are wanted."""


class _Refused(Exception):  # noqa: N818
    """An object of a class or function that no vocabulary needs."""


class _Reader(pickle.Unpickler):
    """Knows one class and how Python 2 and 3 make an object of it; everything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in CLASSES:
            return _Pickled
        if module in ("copy_reg", "copyreg") and name == "_reconstructor":
            return copyreg._reconstructor  # type: ignore[attr-defined]
        if module in ("__builtin__", "builtins") and name == "object":
            return object
        raise _Refused(f"it holds an object of {module}.{name}")


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Reader(file, encoding="utf-8").load()
    except _Refused as error:
        raise InputError(f"{path} is not read: {error}, and reading that could run code") from error
    except Exception as error:  # what is no pickle, or cut short, fails in many ways
        raise InputError(
            f"{path} is neither JSON nor a pickle that can be read ({type(error).__name__}); copy it again"
        ) from error


def _what_belongs() -> str:
    return f"a vocabulary has word2idx with {', '.join(SPECIALS)} first"
