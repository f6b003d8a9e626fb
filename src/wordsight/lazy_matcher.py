"""A saved matcher that opens in two steps: the text side at once, the image side when a picture needs it.

A sentence is compared with stored vectors, so searching by one needs neither the vision model nor its
library, which take several times as long to load as everything else.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wordsight import checkpoint
from wordsight.files.contained import inside
from wordsight.matcher import Matcher, budget_of, build_parts, check_tables, tables_in
from wordsight.registry.trust import addresses_in, trusting

TEXT_SIDE = ("tokenizer", "text_encoder", "similarity")
IMAGE_SIDE = ("reader", "image_encoder")
ImageSide = tuple[Any, nn.Module]  # the reader and the image encoder


class LazyMatcher(Matcher):
    """A Matcher whose reader and image encoder open at their first use, by whichever thread that is.

    What goes through all weights (``parameters``, ``state_dict``, ``to``) opens them too.
    """

    def __init__(
        self, tokenizer: Any, text_encoder: nn.Module, similarity: Any, open_images: Callable[[], ImageSide]
    ) -> None:
        nn.Module.__init__(self)
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.similarity = similarity
        self._lock = threading.RLock()
        self._open_images: Callable[[], ImageSide] | None = open_images

    @property
    def has_image_side(self) -> bool:
        return self._open_images is None

    def open_image_side(self) -> None:
        """Open the reader and the image encoder, once; raises what ``Matcher.from_pretrained`` raises."""
        with self._lock:
            if self._open_images is not None:
                reader, encoder = self._open_images()
                object.__setattr__(self, "reader", reader)
                self.image_encoder = encoder.train(self.training)
                self._open_images = None

    @property
    def device(self) -> torch.device:
        weights = next(self.text_encoder.parameters(), None)
        return super().device if weights is None else weights.device

    def __getattr__(self, name: str) -> Any:
        if name in IMAGE_SIDE and self.__dict__.get("_open_images") is not None:
            self.open_image_side()
            return getattr(self, name)
        return super().__getattr__(name)

    def train(self, mode: bool = True) -> "LazyMatcher":
        """The mode of what is open, and of the rest once that opens."""
        self.training = mode
        for part in self._modules.values():
            if part is not None:
                part.train(mode)
        return self

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        self.open_image_side()
        return super().named_children()

    def named_modules(self, *given: Any, **named: Any) -> Any:
        self.open_image_side()
        return super().named_modules(*given, **named)

    def state_dict(self, *given: Any, **named: Any) -> Any:
        self.open_image_side()
        return super().state_dict(*given, **named)

    def load_state_dict(self, *given: Any, **named: Any) -> Any:
        self.open_image_side()
        return super().load_state_dict(*given, **named)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles are of a plain Matcher."""
        self.open_image_side()
        parts = (self.reader, self.tokenizer, self.image_encoder, self.text_encoder, self.similarity)
        return Matcher, parts, {"training": self.training}


def open_lazily(folder: str | Path, *, trust_remote_code: bool = False) -> LazyMatcher:
    """``Matcher.from_pretrained`` of a folder; the image side opens later, and only then is it checked."""
    home = Path(folder)
    tables = tables_in(home)
    weights, budget = inside(home, checkpoint.WEIGHTS), budget_of(home)

    def trusted() -> AbstractContextManager[None]:
        return trusting(addresses_in(tables) if trust_remote_code else (), str(home / checkpoint.CONFIG))

    def open_images() -> ImageSide:
        with trusted():
            made = build_parts(IMAGE_SIDE, tables, {}, budget)
        checkpoint.load_weights(made["image_encoder"], weights, "image_encoder.")
        return made["reader"], made["image_encoder"].eval()

    with trusted():
        check_tables(tables)
        made = build_parts(TEXT_SIDE, tables, {}, budget)
    matcher = LazyMatcher(**made, open_images=open_images)
    checkpoint.check_names(weights, IMAGE_SIDE + TEXT_SIDE)
    for kind, part in made.items():
        if isinstance(part, nn.Module):
            checkpoint.load_weights(part, weights, f"{kind}.")
    return matcher.eval()
