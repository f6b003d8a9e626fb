"""Tokenizer files of a saved model -> ids, by tokenizers or sentencepiece: transformers is not needed.

The classes have the names of transformers' tokenizers that WordPieces and DualTokenizer use, and give the
same ids.
"""

import re
import string
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError, MissingPackageError
from wordsight.files import plain_json

SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the second one has the last word
NO_LIMIT = 10**30  # how transformers writes that a model has no longest text
SPACE = "\u2581"  # how sentencepiece writes one
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class SavedTokenizer:
    """Special tokens and settings; a subclass turns text into ids."""

    def __init__(self, folder: Path) -> None:
        settings: dict[str, Any] = {}
        for name in SETTINGS:
            settings |= _table(folder / name)
        self.settings = settings
        self.unk_token = _spelling(settings.get("unk_token"))
        self.model_max_length = int(settings.get("model_max_length") or NO_LIMIT)

    def __getattr__(self, name: str) -> int | None:
        """Id of a special token: ``cls_token_id`` and the like; None if the model has no such token."""
        if not name.endswith("_token_id"):
            raise AttributeError(name)
        spelling = _spelling(self.settings.get(name.removesuffix("_id")))
        return None if spelling is None else self._id_of(spelling)

    def _id_of(self, piece: str) -> int | None:
        raise NotImplementedError

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        raise NotImplementedError


class JsonTokenizer(SavedTokenizer):
    """The tokenizer in a tokenizer.json, which neither pads nor cuts, and spells marks as letters."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tokenizers = _package("tokenizers", "tokenizers", folder)
        self.backend_tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.backend_tokenizer.no_truncation()
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.encode_special_tokens = True

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size())

    def __call__(self, text: str, add_special_tokens: bool = True, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def get_vocab(self) -> dict[str, int]:
        return dict(self.backend_tokenizer.get_vocab())

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.backend_tokenizer.id_to_token(id) for id in ids]

    def _id_of(self, piece: str) -> int | None:
        found: int | None = self.backend_tokenizer.token_to_id(piece)
        return found


class SentencePieces(SavedTokenizer):
    """SigLIP's tokenizer, a spiece.model: punctuation is left out, and a text ends with its end mark."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        sentencepiece = _package("sentencepiece", "siglip", folder)
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        self._lower = bool(self.settings.get("do_lower_case", True))
        # a text begins behind the unknown token, or sentencepiece would take the space before it away
        self._before = len(self.model.encode(str(self.unk_token)))

    def __len__(self) -> int:
        return int(self.model.get_piece_size())

    def __call__(self, text: str, add_special_tokens: bool = True, **_: Any) -> dict[str, list[int]]:
        plain = (SPACE + text.replace(SPACE, " ")).translate(_PUNCTUATION)
        plain = re.sub(r"\s+", " ", plain.lower() if self._lower else plain).strip()
        pieces = self.model.encode(str(self.unk_token) + plain, out_type=str)[self._before :]
        if len(pieces) > 1 and pieces[0] == SPACE and pieces[1] in self._marks():
            pieces = pieces[1:]
        ends = [self.eos_token_id] if add_special_tokens else []
        return {"input_ids": [*map(self.model.piece_to_id, pieces), *ends]}

    def get_vocab(self) -> dict[str, int]:
        return {self.model.id_to_piece(id): id for id in range(len(self))}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.model.id_to_piece(int(id)) for id in ids]

    def _id_of(self, piece: str) -> int | None:
        return int(self.model.piece_to_id(piece))

    def _marks(self) -> set[str | None]:
        return {_spelling(self.settings.get(f"{name}_token")) for name in ("eos", "unk", "pad")}


def open_saved_tokenizer(folder: Path) -> SavedTokenizer:
    """The tokenizer in a folder. Raises MissingPackageError with the extra that reads it, InputError."""
    kinds: dict[str, type[SavedTokenizer]] = {"tokenizer.json": JsonTokenizer, "spiece.model": SentencePieces}
    for name, kind in kinds.items():
        if (folder / name).is_file():
            try:
                return kind(folder)
            except (MissingPackageError, InputError):
                raise
            except Exception as error:  # damaged files fail in many ways
                raise InputError(
                    f"{folder / name} cannot be read ({type(error).__name__}: {error})",
                    "copy the model folder again",
                ) from error
    raise MissingFileError(
        f"{folder} has no tokenizer.json, which a search without torch reads",
        "pip install 'wordsight[train]', or save the model again where it is installed",
    )


def _table(path: Path) -> Mapping[str, Any]:
    value = plain_json.read(path) if path.is_file() else {}
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; expected an object", "fetch it again")
    return value


def _spelling(token: Any) -> str | None:
    """The letters of a special token; files have them alone, or with how it is found in a text."""
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None


def _package(name: str, extra: str, folder: Path) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MissingPackageError(
            f"the tokenizer in {folder} needs the package {name}", f"pip install 'wordsight[{extra}]'"
        ) from None
