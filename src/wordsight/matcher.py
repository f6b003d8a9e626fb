"""Matcher: reader, tokenizer, two encoders, one similarity; pictures and texts in, scores and reasons out."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from wordsight import checkpoint, registry
from wordsight.encode.projection import out_dim
from wordsight.errors import MissingFileError
from wordsight.files import atomic
from wordsight.files.contained import check_links, inside
from wordsight.pairs import EncodedPairs, PairBatch, Picture
from wordsight.pretrained.dual_encoders import dual_tables
from wordsight.pretrained.models import MissingModel
from wordsight.read.pictures.picture_list import list_pictures
from wordsight.registry.trust import addresses_in, trusting
from wordsight.runtime.allocation import TensorBudget, memory_in_numbers
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens
from wordsight.similarity.base import Alignment, Similarity

PARTS = ("reader", "tokenizer", "image_encoder", "text_encoder", "similarity")


class Matcher(nn.Module):
    """Everything between files and scores, in five parts that are five tables of a configuration.

    The reader and the tokenizer turn pictures and texts into what the encoders read; only the encoders
    and the similarity are trained. ``Matcher.build`` makes one, ``from_pretrained`` from a folder.
    """

    tokenizer: Any
    image_encoder: Any
    text_encoder: Any
    similarity: Similarity

    def __init__(
        self,
        reader: Any,
        tokenizer: Any,
        image_encoder: nn.Module,
        text_encoder: nn.Module,
        similarity: Similarity,
    ) -> None:
        super().__init__()
        object.__setattr__(self, "_reader", reader)  # frozen: neither trained nor among the weights
        self._reader_lock = Lock()
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.similarity = similarity

    @property
    def reader(self) -> Any:
        """Turns pictures into what the image encoder reads; a saved matcher builds it at the first picture.

        A sentence needs no reader, whose backbone is the slowest part to load.
        """
        with self._reader_lock:
            if isinstance(self._reader, Deferred):
                object.__setattr__(self, "_reader", self._reader.build())
        return self._reader

    @reader.setter
    def reader(self, reader: Any) -> None:
        object.__setattr__(self, "_reader", reader)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": self.reader, "_reader_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _reader_lock=Lock())

    @classmethod
    def build(cls, tables: Mapping[str, Mapping[str, Any]], **given: Any) -> "Matcher":
        """Make the five parts from their tables; sizes that one part knows are offered to the next.

        ``given`` may offer ``feature_dim`` (of precomputed regions) or ``vocabulary``. Sizes that the memory
        of this machine does not hold are an InputError.
        """
        memory = memory_in_numbers()
        budget = None if memory is None else TensorBudget(memory, "the memory of this machine holds")
        return cls._build(tables, given, budget)

    @classmethod
    def _build(
        cls,
        tables: Mapping[str, Mapping[str, Any]],
        given: dict[str, Any],
        budget: TensorBudget | None,
        reader: "Deferred | None" = None,
    ) -> "Matcher":
        """``reader``: builds the reader later; its settings are checked now."""
        made: dict[str, Any] = {}
        for kind in PARTS:
            if kind not in tables:
                raise registry.TableError(
                    f"[{kind}] is missing; a matcher needs the tables {', '.join(PARTS)}"
                )
            registry.check_trusted(kind, tables[kind])  # before any of them is built
        if reader is not None:
            registry.complete("reader", tables["reader"])
            made["reader"] = reader
        for kind in PARTS[len(made) :]:
            with nullcontext() if budget is None else budget.spent_by(f"[{kind}]"):
                made[kind] = registry.build(kind, tables[kind], **given)
            given |= _sizes(kind, made[kind])
        return cls(**made)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def read_images(self, images: Regions | Pixels | Sequence[Picture]) -> Regions | Pixels:
        """Pictures through the reader; what is already Regions or Pixels passes unchanged."""
        if isinstance(images, Regions | Pixels):
            return images
        read: Regions | Pixels = self.reader(list_pictures(images))
        return read

    def encode_images(self, images: Regions | Pixels | Sequence[Picture]) -> EmbeddingSet:
        """One embedding set per picture; no pictures make an empty set."""
        if not isinstance(images, Regions | Pixels):
            images = list_pictures(images)
        if not len(images):
            return _empty(self.image_encoder, self.device)
        encoded: EmbeddingSet = self.image_encoder(self.read_images(images).to(self.device))
        return encoded

    def encode_texts(self, texts: Tokens | Sequence[str]) -> EmbeddingSet:
        """One embedding set per text; no texts make an empty set."""
        tokens = texts if isinstance(texts, Tokens) else self.tokenizer(texts)
        if not len(tokens):
            return _empty(self.text_encoder, self.device)
        encoded: EmbeddingSet = self.text_encoder(tokens.to(self.device))
        return encoded

    def forward(self, batch: PairBatch) -> EncodedPairs:
        """Encode the batch and compare each of its images with each of its texts."""
        images, texts = self.encode_images(batch.images), self.encode_texts(batch.texts)
        return self.compare(images, texts, batch.identities, batch.labels, batch.image_of)

    def compare(
        self,
        images: EmbeddingSet,
        texts: EmbeddingSet,
        identities: Int[Tensor, " pair"],
        labels: Float[Tensor, "pair label"] | None = None,
        image_of: Int[Tensor, " pair"] | None = None,
    ) -> EncodedPairs:
        """Encode and score a batch for a loss; with label logits where the pairs have labels.

        An image of several pairs (``image_of``, as in PairBatch) is compared once.
        """
        scores = self.similarity(images, texts)
        if image_of is not None:
            images, scores = images[image_of], scores[image_of]
        logits = None if labels is None else self.similarity.label_logits(images, texts)
        return EncodedPairs(images, texts, scores, identities, labels, logits)

    @torch.no_grad()
    def score(
        self, pictures: Regions | Pixels | Sequence[Picture], texts: Sequence[str]
    ) -> Float[Tensor, "image text"]:
        """How well each text fits each picture; higher is better, comparable within one model only."""
        with _evaluating(self):
            scores: Tensor = self.similarity(self.encode_images(pictures), self.encode_texts(texts))
        return scores

    @torch.no_grad()
    def align(self, pictures: Regions | Pixels | Sequence[Picture], texts: Sequence[str]) -> list[Alignment]:
        """Why picture i fits text i; where each word (or region) looks, one Alignment per direction."""
        with _evaluating(self):
            return self.similarity.align(self.encode_images(pictures), self.encode_texts(texts))

    def save_pretrained(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Write a folder that ``from_pretrained`` reads back: JSON, safetensors, the vocabulary.

        ``card`` holds facts for its README.md: data, protocol, numbers, licence.
        """
        self._save(Path(folder), card or {}, "FOLDER")

    def _save(self, folder: Path, card: Mapping[str, Any], name: str) -> None:
        """``name``: what the card tells its reader to open."""
        with atomic.atomic_folder(folder) as fresh:
            parts = {kind: _describe(getattr(self, kind), fresh) for kind in PARTS}
            checkpoint.save_weights(fresh / checkpoint.WEIGHTS, self.state_dict())
            config = {
                "format": checkpoint.FORMAT,
                "matcher_type": parts["similarity"]["name"],
                "parts": parts,
            }
            checkpoint.write_json(fresh / checkpoint.CONFIG, config)
            (fresh / "README.md").write_text(_card(parts, card, name), encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        token: str | None = None,
        trust_remote_code: bool = False,
    ) -> "Matcher":
        """Open a saved matcher from a folder or from the Hugging Face Hub, in evaluation mode.

        A model is data: it may name parts of wordsight and of installed packages. One that names other code,
        "module:Class", is an error, unless ``trust_remote_code`` allows the import.
        """
        home = model_folder(folder, revision, local_files_only, token)
        parts = checkpoint.read_config(home)["parts"]
        budget = TensorBudget(checkpoint.numbers_in(home), f"the weights in {home} can fill")
        allowed = addresses_in(parts) if trust_remote_code else []
        config = str(home / checkpoint.CONFIG)
        with trusting(allowed, config):
            tables = {kind: with_paths(table, home) for kind, table in parts.items()}
            reader = Deferred(tables.get("reader", {}), allowed, config, budget)
            matcher = cls._build(tables, {}, budget, reader if reader.is_slow else None)
        checkpoint.load_weights(matcher, inside(home, checkpoint.WEIGHTS))
        return matcher.eval()

    @classmethod
    def from_published(
        cls,
        name: str | Path,
        regions: str = "whole",
        *,
        fit: str | None = None,
        revision: str | None = None,
    ) -> "Matcher":
        """Open a published CLIP or SigLIP, a folder or a hub name, in evaluation mode; no training needed.

        Its scores are the model's own logits. ``regions`` "patches" adds a vector for each patch and each
        word, a hint of where words are; ``dual_tables`` tells more, also of ``fit``.
        """
        return cls.build(dual_tables(str(name), regions, fit, revision)).eval()

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        token: str | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> str:
        """Save to the Hugging Face Hub under ``name`` ("user/model"); returns the address of the commit."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "model"
            named = api.create_repo(
                name, private=private, exist_ok=True
            ).repo_id  # with the user, if left out
            self._save(home, card or {}, named)
            return str(api.upload_folder(repo_id=named, folder_path=str(home)))


@dataclass(frozen=True)
class Deferred:
    """The reader of a saved matcher before its first picture: its table, imports and memory."""

    table: Mapping[str, Any]
    allowed: Sequence[str]
    config: str
    budget: TensorBudget

    @property
    def is_slow(self) -> bool:
        """Whether it holds a network of its own, which takes seconds to load."""
        name = self.table.get("name")
        return isinstance(name, str) and getattr(registry.find("reader", name), "has_network", False)

    def build(self) -> Any:
        with trusting(self.allowed, self.config), self.budget.spent_by("[reader]"):
            return registry.build("reader", self.table)


def model_folder(
    name: str | Path, revision: str | None = None, local_files_only: bool = False, token: str | None = None
) -> Path:
    """The folder of a saved model: given, the best one of a run's folder, or a local copy from the Hub."""
    home = Path(name).expanduser()
    if not home.is_dir():
        return _download(str(name), revision, local_files_only, token)
    if (home / checkpoint.CONFIG).is_file():
        return home
    if (home / checkpoint.BEST).is_dir():
        return home / checkpoint.BEST
    if any((home / name).is_file() for name in checkpoint.OF_A_RUN):
        raise MissingFileError(f"{home} is a run without a best model yet; go on with it: train --resume")
    return home


def _empty(encoder: Any, device: torch.device) -> EmbeddingSet:
    """No images, or no texts, as the encoder would return them."""
    return EmbeddingSet(
        torch.zeros(0, 1, out_dim(encoder), device=device),
        torch.zeros(0, 1, dtype=torch.bool, device=device),
    )


class _evaluating:  # noqa: N801
    """Evaluation mode inside the block, whatever the mode was outside."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.was_training = module, module.training

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *error: object) -> None:
        self.module.train(self.was_training)


def _sizes(kind: str, part: Any) -> dict[str, Any]:
    """Sizes of a part that the parts after it need."""
    known = {name: getattr(part, name, None) for name in ("feature_dim", "dim", "pad_id")}
    if kind == "text_encoder" and getattr(part, "projection", None) is not None:
        known["dim"] = out_dim(part)  # of the vectors that the similarity is given
    if kind == "tokenizer":
        known["vocabulary_size"] = len(part)
    return {name: size for name, size in known.items() if size is not None}


def _describe(part: Any, folder: Path) -> dict[str, Any]:
    """The table of a part; parts that need files of their own write them into the folder."""
    table = registry.describe(part)
    return table | (part.save(folder) if hasattr(part, "save") else {})


_FILES = ("vocabulary", "model", "detector")  # settings that may name a file inside the saved folder


def with_paths(table: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """The table with the paths of the files that it names, all of which must be in the folder."""
    named = {key: inside(home, table[key]) for key in _FILES if isinstance(table.get(key), str)}
    for key, path in named.items():
        if not path.exists():
            raise MissingFileError(
                f"{home} has no {table[key]}, which its {checkpoint.CONFIG} names as {key}",
                "copy the folder again",
            )
        check_links(path)
    return dict(table) | {key: str(path) for key, path in named.items()}


def _download(name: str, revision: str | None, local_files_only: bool, token: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    looks_like_a_path = name.count("/") != 1 or name.startswith((".", "/", "~")) or os.sep * 2 in name
    if looks_like_a_path:
        raise MissingFileError(
            f"there is no folder {name}; give the folder of a saved model or a hub name user/model"
        )
    try:
        return Path(
            snapshot_download(name, revision=revision, local_files_only=local_files_only, token=token)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise MissingModel(
            f"{name} is neither a folder here nor to be had from the hub ({type(error).__name__}); where "
            f"there is a network run: hf download {name} --local-dir {Path(name).name}; "
            "then copy the model folder to this machine and give its path"
        ) from error


def _card(parts: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any], name: str) -> str:
    named = "\n".join(f"- {kind.replace('_', ' ')}: {table['name']}" for kind, table in parts.items())
    lines = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    return (
        "---\nlibrary_name: wordsight\npipeline_tag: feature-extraction\ntags: [image-text-matching]\n---\n\n"
        f"# An image-text matcher\n\n{named}\n\n{lines}\n\n"
        f'```python\nfrom wordsight import Matcher\n\nmatcher = Matcher.from_pretrained("{name}")\n'
        'print(matcher.score(["photo.jpg"], ["a dog runs"]))\n```\n'
    )
