"""OnnxMatcher: a saved matcher whose encoders run by onnxruntime; it scores and explains without torch.

Reader, tokenizer, similarity and probabilities are those of ``Matcher``; the two encoders are ONNX files.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float

from wordsight import checkpoint, registry
from wordsight.errors import InputError, MissingPackageError
from wordsight.exported import AGAIN, Export, read_export
from wordsight.matcher.folders import model_folder, with_paths
from wordsight.matcher.onnx_sides import OnnxSide
from wordsight.matcher.onnx_words import text_side
from wordsight.matcher.parts import check_tables
from wordsight.matcher.reads_pictures import ReadsPictures
from wordsight.pairs import Picture
from wordsight.presence.model import PresenceModel
from wordsight.presence.saved import load_presence
from wordsight.registry.trust import addresses_in, trusting
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens
from wordsight.similarity.base import Alignment, Similarity
from wordsight.tensors import Tensor, torch

TRAIN = "pip install 'wordsight[train]'"


def _call(function: Callable[[], Any]) -> Any:
    return function()


class OnnxMatcher(ReadsPictures):
    """A matcher for search, index and page; it cannot be trained or saved."""

    training = False
    phrases: tuple[str, ...] = ()  # a detector that reads text runs in torch

    def __init__(
        self,
        home: Path,
        export: Export,
        trusted: Sequence[str] = (),
        precision: str = "float32",
        read: Callable[[Callable[[], Any]], Any] = _call,
    ) -> None:
        self.home, self.export, self.trusted, self.read = home, export, trusted, read
        self.tables = checkpoint.read_config(home)["parts"]
        with trusting(trusted, str(home / checkpoint.CONFIG)):
            check_tables(self.tables)
        self.device = torch.device("cpu")
        texts = OnnxSide(export.file(home, "text", precision), export.inputs["text"], export.dim)
        self.text_encoder = text_side(texts, export.words_alone)
        self._precision = precision
        self.presence: PresenceModel | None = read(lambda: load_presence(home))

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, trust_remote_code: bool = False, precision: str = "float32", **hub: Any
    ) -> "OnnxMatcher":
        """Open a saved matcher that has an export; ``hub`` as for ``Matcher.from_pretrained``."""
        return open_exported(cls, model_folder(folder, **hub), trust_remote_code, precision=precision)

    @classmethod
    def from_published(cls, name: str | Path, *_: Any, **__: Any) -> "OnnxMatcher":
        raise MissingPackageError(f"reading the published model {name} needs torch", TRAIN)

    @cached_property
    def tokenizer(self) -> Any:
        return self._build("tokenizer", self.tables["tokenizer"])

    @cached_property
    def similarity(self) -> Similarity:
        """The similarity, with its weights if it has any."""
        made: Similarity = self._build("similarity", self.tables["similarity"], dim=self.export.dim)
        if made.state_dict():
            self.read(lambda: checkpoint.load_weights(made, self.home / checkpoint.WEIGHTS, "similarity."))
        return made.eval()

    @cached_property
    def reader(self) -> Any:
        if self.export.reader is None:
            raise MissingPackageError(f"pictures need torch here: {self.export.no_pictures}", TRAIN)
        return self._build("reader", self.export.reader)

    @cached_property
    def image_encoder(self) -> OnnxSide:
        if "image" not in self.export.inputs:
            raise InputError(f"the export in {self.home} has no image side", AGAIN)
        path = self.export.file(self.home, "image", self._precision)
        return OnnxSide(path, self.export.inputs["image"], self.export.dim)

    def _build(self, kind: str, table: Any, **sizes: Any) -> Any:
        def build() -> Any:
            with trusting(self.trusted, str(self.home / checkpoint.CONFIG)):
                return registry.build(kind, with_paths(table, self.home), **sizes)

        return self.read(build)

    def encode_images(self, images: Regions | Pixels | Sequence[Picture]) -> EmbeddingSet:
        """One embedding set per picture."""
        read = self.read_images(images)
        return self.image_encoder(read) if len(read) else self._empty()

    def encode_texts(self, texts: Tokens | Sequence[str]) -> EmbeddingSet:
        """One embedding set per text."""
        tokens = texts if isinstance(texts, Tokens) else self.tokenizer(texts)
        return self.text_encoder(tokens) if len(tokens) else self._empty()

    def score(
        self, pictures: Regions | Pixels | Sequence[Picture], texts: Sequence[str]
    ) -> Float[Tensor, "image text"]:
        """How well each text fits each picture, as ``Matcher.score`` says it."""
        scores: Tensor = self.similarity(self.encode_images(pictures), self.encode_texts(texts))
        return scores

    def align(self, pictures: Regions | Pixels | Sequence[Picture], texts: Sequence[str]) -> list[Alignment]:
        """Why picture i fits text i."""
        return self.similarity.align(self.encode_images(pictures), self.encode_texts(texts))

    def build_all(self) -> None:
        """Open every part now; raises what its first use would raise."""
        parts = self.tokenizer, self.similarity, self.reader
        sessions = self.text_encoder.session, self.image_encoder.session
        assert None not in (*parts, *sessions)

    def is_complete(self) -> bool:
        """Whether the parts that read pictures are open."""
        return {"reader", "image_encoder"} <= vars(self).keys()

    def to(self, device: Any) -> "OnnxMatcher":
        """Stay on the processor. Raises MissingPackageError for another device."""
        torch.device(device)
        return self

    def eval(self) -> "OnnxMatcher":
        return self

    def _empty(self) -> EmbeddingSet:
        return EmbeddingSet(torch.zeros(0, 1, self.export.dim), torch.zeros(0, 1, dtype=torch.bool))


def open_exported(
    kind: type[OnnxMatcher],
    home: Path,
    trust_remote_code: bool = False,
    read: Callable[[Callable[[], Any]], Any] = _call,
    precision: str = "float32",
) -> OnnxMatcher:
    """The matcher in a folder with an export; ``read`` as in ``open_saved``."""
    export = read(lambda: read_export(home))
    trusted = addresses_in(checkpoint.read_config(home)["parts"]) if trust_remote_code else []
    return kind(home, export, trusted, precision, read)
