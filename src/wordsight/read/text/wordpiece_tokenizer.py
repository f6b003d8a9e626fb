"""Texts in, Tokens out, one per wordpiece: the tokenizer of a published BERT, from the hub or a folder."""

from itertools import groupby
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.atomic import atomic_folder
from wordsight.pretrained.models import LOCAL, import_transformers
from wordsight.pretrained.published_files import check_published
from wordsight.read.text.base import Tokenizer
from wordsight.read.text.saved_tokenizer import open_saved_tokenizer
from wordsight.read.text.word_tokenizer import check_length
from wordsight.registry.limits import Size
from wordsight.tensors import IS_TORCH

# any one of them makes a tokenizer
FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"
)  # fmt: skip
FOLDER = "tokenizer"
LONGEST = 512  # what BERT reads; some published tokenizers state no limit at all


class WordPieces(Tokenizer):
    """BERT's tokenizer: ``[CLS] wordpieces [SEP]``, with the wordpieces of one word known to belong together.

    ``model``      a hub name, or a folder with tokenizer.json or vocab.txt
    ``max_length``  the most tokens of one text, ``[CLS]`` and ``[SEP]`` included; None: the model's
    ``truncate``   cut longer texts instead of refusing them

    A "word" is what BERT's basic tokenizer calls one: "riding" of "rid ##ing", "-" in "t-shirt". A text that
    spells a special token is read as the letters it is made of.
    """

    def __init__(self, model: str | Path, max_length: Size | None = None, truncate: bool = False) -> None:
        self.model = str(model)
        self._tokenizer = _load(self.model)
        start, end, self._pad = _specials(self._tokenizer, self.model)
        self._before, self._after = [start], [end]
        self.max_length = max_length or min(self._tokenizer.model_max_length, LONGEST)
        self.truncate = truncate
        if self.max_length < 3:
            raise InputError(
                f"max_length is {max_length}; a text of one wordpiece has 3 tokens: [CLS], it, [SEP]"
            )

    @property
    def mask_id(self) -> int | None:
        mask: int | None = self._tokenizer.mask_token_id
        return mask

    def __len__(self) -> int:
        """The number of ids."""
        return len(self._tokenizer)

    def words(self, text: str) -> list[list[int]]:
        """The wordpieces of each word; raises as calling does."""
        encoding = self._encode(text)
        pieces = list(zip(encoding.word_ids, encoding.ids, strict=True))[: self.max_length - 2]
        return [[id for _, id in word] for _, word in groupby(pieces, key=lambda piece: piece[0])]

    def labels(self, text: str) -> list[str]:
        """The wordpieces between ``[CLS]`` and ``[SEP]``; those not known are shown as the text has them."""
        encoding, unknown = self._encode(text), self._tokenizer.unk_token
        shown = [
            text[slice(*place)] if piece == unknown else piece
            for piece, place in zip(encoding.tokens, encoding.offsets, strict=True)
        ]
        start, end = self._tokenizer.convert_ids_to_tokens([*self._before, *self._after])
        return [start, *shown[: self.max_length - 2], end]

    def whole_words(self) -> list[str]:
        """Wordpieces that begin a word, in the order of the vocabulary."""
        pieces = self._tokenizer.get_vocab()
        return sorted(
            (piece for piece in pieces if piece.isalpha() and len(piece) > 1), key=pieces.__getitem__
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the tokenizer's files into a folder of their own, so that reading them back needs no hub."""
        with atomic_folder(folder / FOLDER) as fresh:
            self._tokenizer.save_pretrained(fresh)
        return {"model": FOLDER, "max_length": self.max_length, "truncate": self.truncate}

    def _encode(self, text: str) -> Any:
        backend = self._tokenizer.backend_tokenizer
        backend.encode_special_tokens = True  # a caption may say "[SEP]"; lost when copied, hence set here
        encoding = backend.encode(text, add_special_tokens=False)
        check_length(text, len(encoding.ids), self.max_length, self.truncate)
        return encoding


def _load(model: str) -> Any:
    """The published tokenizer, without the fixed length that some of them pad and cut to."""
    folder = find_tokenizer(model)
    check_published(folder)
    if not IS_TORCH:
        return open_saved_tokenizer(folder)
    transformers = import_transformers()
    bare = not (folder / "tokenizer.json").is_file() and (folder / "vocab.txt").is_file()
    kind = transformers.BertTokenizer if bare else transformers.AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(folder, **LOCAL)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # damaged files fail in many ways, most of them without naming the file
        raise InputError(
            f"the tokenizer files in {folder} cannot be read ({type(error).__name__}: {error}); "
            "fetch them again"
        ) from error
    backend.no_truncation()
    backend.no_padding()
    return tokenizer


def find_tokenizer(model: str) -> Path:
    """The folder with the tokenizer's files: given, in the hub's cache, or fetched, in this order."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if model.startswith((".", "/", "~")) or model.count("/") > 1:
            raise MissingFileError(
                f"there is no folder {folder}; give a folder with {' or '.join(FILES[:2])}"
            )
        folder = _from_hub(model)
    if not any((folder / name).is_file() for name in FILES):
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise MissingFileError(f"{folder} has no tokenizer: it needs {' or '.join(FILES[:2])}; found {found}")
    return folder


def _from_hub(name: str) -> Path:
    """The hub's folder from its cache, without asking the network, or else fetched."""
    from huggingface_hub import snapshot_download

    wanted = [
        "tokenizer*",
        "vocab*",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "config.json",
    ]
    try:
        cached = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        if any((cached / file).is_file() for file in FILES):
            return cached
    except OSError:
        pass  # not in the cache
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingFileError(
            f'tokenizer "{name}" is neither a folder nor in the local cache, and could not be fetched '
            f"({reason}). "
            f"Where there is a network run: hf download {name} --include 'tokenizer*' 'vocab*' "
            f"--local-dir {Path(name).name}; then give that folder as model"
        ) from error


def _specials(tokenizer: Any, model: str) -> tuple[int, int, int]:
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad")}
    missing = [f"[{name.upper()}]" for name, id in ids.items() if id is None]
    if missing:
        raise InputError(
            f"the tokenizer of {model} has no {', '.join(missing)}; wordpieces needs BERT's special tokens"
        )
    return ids["cls"], ids["sep"], ids["pad"]
