"""A published model's folder in; an error out if its JSON files ask for code, other files or endless layers.

transformers reads these files, and some of their keys do more than describe: they name code of the hub,
adapters, quantizers, or files elsewhere. No model that wordsight reads needs any of that.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, WordsightError
from wordsight.files import plain_json

MOST_LAYERS = 1000  # of one kind, or in one list: each is built one by one, however small
MOST_LABELS = 100_000
_LAYERS = re.compile(r"layer|depth|block|stage|repeat|group")
_CODE = ("attn_implementation", "experts_implementation")  # of another's repository, if it has a slash
_TOKENIZER = re.compile(r"\w*Tokenizer(Fast|sBackend)?|\w+Backend|PreTrainedTokenizer(Fast)?")


def check_published(folder: Path) -> None:
    """Raises InputError for a folder that transformers should not be given."""
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder} holds adapter_config.json: adapters are not read", "merge it into the model"
        )
    _check_config(folder / "config.json")
    _check_tokenizer(folder / "tokenizer_config.json")
    for index in folder.glob("*.index.json"):
        _check_shards(index)


def _check_config(path: Path) -> None:
    for key, value in _entries(_table(path)):
        name = key.strip("_")
        if name == "quantization_config":
            raise InputError(f"{path} asks for quantized weights, which are not read", "take the plain model")
        if (
            any(name.startswith(one) for one in _CODE)
            and isinstance(value, str)
            and re.search("[/:@]", value)
        ):
            raise InputError(f"{path}: {key} = {value!r} is code from outside", "take that line out")
        most = MOST_LABELS if "label" in name else MOST_LAYERS if _LAYERS.search(name) else 2**31
        numbers = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int]
        if sum(map(abs, numbers)) > most:
            raise InputError(f"{path}: {key} = {str(value)[:60]}; expected at most {most:,}")


def _check_tokenizer(path: Path) -> None:
    table = _table(path)
    kind = table.get("tokenizer_class")
    if kind is not None and not (isinstance(kind, str) and _TOKENIZER.fullmatch(kind)):
        raise InputError(f"{path}: tokenizer_class = {str(kind)[:60]!r} is no tokenizer")
    for key, value in _entries(table):
        if key.endswith("_file") and isinstance(value, str) and not _is_plain(value):
            raise InputError(f"{path}: {key} = {value[:120]!r} leads out of the folder", "take that line out")


def _check_shards(path: Path) -> None:
    files = _table(path).get("weight_map", {})
    for name in files.values() if isinstance(files, Mapping) else [files]:
        if not (isinstance(name, str) and _is_plain(name)):
            raise InputError(
                f"{path} names the weight file {str(name)[:120]!r}; expected one in its own folder"
            )


def _is_plain(name: str) -> bool:
    return not re.search(r"[/\\:\0]", name) and name not in ("", ".", "..")


def _table(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file; an empty one where there is no file."""
    value = plain_json.read(path) if path.is_file() else {}
    if not isinstance(value, Mapping):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; expected an object", "fetch it again")
    return value


def _entries(table: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a table and of the tables in it, with its value."""
    for key, value in table.items():
        yield key, value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from _entries(inner)


@contextmanager
def built_from(folder: Path | str) -> Iterator[None]:
    """Whatever a library raises for files that describe no model is an InputError that names their folder."""
    try:
        yield
    except (WordsightError, OSError):
        raise
    except Exception as error:  # a wrong value fails in as many ways as there are keys
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise InputError(
            f"the model in {folder} cannot be built ({type(error).__name__}: {reason})",
            "fetch its config.json and its weights again, from the same place",
        ) from error
