"""Matcher: reader, tokenizer, two encoders, one similarity; pictures and texts in, scores and reasons out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from wordsight.encode.projection import out_dim
from wordsight.matcher.folders import model_folder
from wordsight.matcher.inference import inference
from wordsight.matcher.lazy_parts import LazyParts
from wordsight.matcher.parts import PARTS, Tables, build_parts, check_tables
from wordsight.matcher.reads_pictures import ReadsPictures
from wordsight.matcher.saved import open_saved, push, save
from wordsight.pairs import EncodedPairs, PairBatch, Picture
from wordsight.presence.model import PresenceModel
from wordsight.pretrained.dual_encoders import dual_tables
from wordsight.pretrained.multi_vector import find_multi_vector, multi_vector_tables
from wordsight.read.pictures.picture_list import list_pictures
from wordsight.runtime.allocation import TensorBudget, memory_in_numbers
from wordsight.runtime.halving import Halving
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens
from wordsight.similarity.base import Alignment, Similarity


class Matcher(ReadsPictures, LazyParts):
    """Everything between files and scores, in five parts that are five tables of a configuration.

    The reader and the tokenizer turn pictures and texts into what the encoders read; only the encoders
    and the similarity are trained. ``Matcher.build`` makes one, ``from_pretrained`` opens one from a folder:
    its reader and its image encoder are built when the first picture needs them.
    """

    not_modules = frozenset({"reader"})  # frozen: neither trained nor among the weights
    reader: Any
    tokenizer: Any
    image_encoder: Any
    text_encoder: Any
    similarity: Similarity

    def __init__(
        self, reader: Any, tokenizer: Any, image_encoder: Any, text_encoder: nn.Module, similarity: Similarity
    ) -> None:
        super().__init__()
        self.reader = reader
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.similarity = similarity
        self.presence: PresenceModel | None = None  # fitted after training; search/relevance/fit_presence.py
        self.saved_phrases: tuple[str, ...] = ()  # of a reader that is not built yet
        self._reading_device: torch.device | None = None
        self._pictures_at_once, self._texts_at_once = Halving("pictures"), Halving("texts")

    @classmethod
    def build(cls, tables: Tables, **sizes: Any) -> "Matcher":
        """Make the five parts from their tables; sizes that one part knows are offered to the next.

        ``sizes`` may offer ``feature_dim`` (of precomputed regions) or ``vocabulary``. Sizes that the memory
        of this machine does not hold are an InputError.
        """
        memory = memory_in_numbers()
        budget = None if memory is None else TensorBudget(memory, "the memory of this machine holds")
        check_tables(tables)
        return cls(**build_parts(PARTS, tables, sizes, budget))

    @property
    def device(self) -> torch.device:
        """Where the weights are; asks the text side, which is always built."""
        weight = next(self.text_encoder.parameters(), None)
        return (next(self.parameters()) if weight is None else weight).device

    @property
    def phrases(self) -> tuple[str, ...]:
        """Phrases that the reader's detector finds; the labels of regions number them from 1."""
        return getattr(self.reader, "phrases", ()) if self.is_built("reader") else self.saved_phrases

    def to(self, *arguments: Any, **options: Any) -> "Matcher":
        """Move encoders and similarity as torch does, and with them the reader and the presence model.

        A part that is not built yet follows when it is; ``find_device`` makes a device of a setting.
        """
        super().to(*arguments, **options)
        device = torch._C._nn._parse_to(*arguments, **options)[0]
        if device is not None:
            self._reading_device = device
            if self.is_built("reader"):
                self._finished("reader", self.reader)
            if self.presence is not None:
                self.presence = self.presence.to(device)
        return self

    def _finished(self, name: str, part: Any) -> Any:
        if name == "reader" and self._reading_device is not None and hasattr(part, "to"):
            return part.to(self._reading_device)
        return super()._finished(name, part)

    def encode_images(self, images: Regions | Pixels | Sequence[Picture]) -> EmbeddingSet:
        """One embedding set per picture; no pictures make an empty set."""
        if not isinstance(images, Regions | Pixels):
            images = list_pictures(images)
        if not len(images):
            return _empty(self.image_encoder, self.device)
        return _in_parts(
            lambda some: self.image_encoder(self.read_images(some).to(self.device)),
            images,
            self._pictures_at_once,
        )

    def encode_texts(self, texts: Tokens | Sequence[str]) -> EmbeddingSet:
        """One embedding set per text; no texts make an empty set."""
        tokens = texts if isinstance(texts, Tokens) else self.tokenizer(texts)
        if not len(tokens):
            return _empty(self.text_encoder, self.device)
        return _in_parts(lambda some: self.text_encoder(some.to(self.device)), tokens, self._texts_at_once)

    def forward(self, batch: PairBatch) -> EncodedPairs:
        """Encode the batch and compare each of its images with each of its texts."""
        images, texts, negatives = self.encode_images(batch.images), batch.texts, None
        if batch.negative_texts is None:
            encoded = self.encode_texts(texts)
        else:  # together: batch norms see one batch
            every = self.encode_texts(Tokens.join([texts, batch.negative_texts]))
            encoded, negatives = every[: len(texts)], every[len(texts) :]
        return self.compare(images, encoded, batch.identities, batch.labels, batch.image_of, negatives)

    def compare(
        self,
        images: EmbeddingSet,
        texts: EmbeddingSet,
        identities: Int[Tensor, " pair"],
        labels: Float[Tensor, "pair label"] | None = None,
        image_of: Int[Tensor, " pair"] | None = None,
        negatives: EmbeddingSet | None = None,
    ) -> EncodedPairs:
        """Encode and score a batch for a loss; with label logits where the pairs have labels.

        An image of several pairs (``image_of``, as in PairBatch) is compared once. ``negatives``: texts that
        describe no image of the batch.
        """
        every = texts if negatives is None else EmbeddingSet.join([texts, negatives])
        scores = self.similarity(images, every)
        if image_of is not None:
            images, scores = images[image_of], scores[image_of]
        logits = None if labels is None else self.similarity.label_logits(images, texts)
        own, of_negatives = scores[:, : len(texts)], scores[:, len(texts) :]
        return EncodedPairs(
            images, texts, own, identities, labels, logits, None if negatives is None else of_negatives
        )

    def score(
        self, pictures: Regions | Pixels | Sequence[Picture], texts: Sequence[str]
    ) -> Float[Tensor, "image text"]:
        """How well each text fits each picture; higher is better, comparable within one model only."""
        with inference(self):
            scores: Tensor = self.similarity(self.encode_images(pictures), self.encode_texts(texts))
            return scores

    def align(self, pictures: Regions | Pixels | Sequence[Picture], texts: Sequence[str]) -> list[Alignment]:
        """Why picture i fits text i; where each word (or region) looks, one Alignment per direction."""
        with inference(self):
            return self.similarity.align(self.encode_images(pictures), self.encode_texts(texts))

    def save_pretrained(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Write a folder that ``from_pretrained`` reads back: JSON, safetensors, the vocabulary.

        ``card`` holds facts for its README.md: data, protocol, numbers, licence.
        """
        save(self, Path(folder), card or {}, "FOLDER")

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
        return open_saved(cls, model_folder(folder, revision, local_files_only, token), trust_remote_code)

    @classmethod
    def from_published(
        cls,
        name: str | Path,
        regions: str = "whole",
        *,
        fit: str | None = None,
        revision: str | None = None,
    ) -> "Matcher":
        """Open a published CLIP, SigLIP, TIPSv2, ColPali, ..., a folder or a hub name; no training needed.

        Its scores are the model's own logits. ``regions`` "patches" adds a vector for each patch and each
        word: of TIPSv2 evidence, of the others a hint of where words are. ``dual_tables`` tells more, also of
        ``fit``.
        """
        folder = find_multi_vector(str(name), revision)
        if folder is not None:  # whose regions and size of pictures are its own
            return cls.build(multi_vector_tables(folder)).eval()
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
        return push(self, name, private, token, card or {})


def _in_parts(encode: Callable[[Any], EmbeddingSet], items: Any, halving: Halving) -> EmbeddingSet:
    """All items encoded: at once in training, else in parts where the memory is too small."""
    if torch.is_grad_enabled():
        return encode(items)
    parts: list[EmbeddingSet] = []

    def work(start: int, stop: int) -> None:
        parts.append(encode(items if stop - start == len(items) else items[start:stop]))

    halving.run(work, 0, len(items))
    return parts[0] if len(parts) == 1 else EmbeddingSet.join(parts)


def _empty(encoder: Any, device: torch.device) -> EmbeddingSet:
    """No images, or no texts, as the encoder would return them."""
    return EmbeddingSet(
        torch.zeros(0, 1, out_dim(encoder), device=device),
        torch.zeros(0, 1, dtype=torch.bool, device=device),
    )
