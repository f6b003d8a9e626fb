"""One tower of a published dual encoder (CLIP, SigLIP, TIPSv2, ...) and layers that may be learned behind it.

**What is known of the vectors.** Those of the whole picture and the whole text are what these models were
trained to bring together: their cosine is evidence that the two belong together. The vectors of patches and
words are what the model's own last layers make of one of them alone: CLIP's final norm and projection,
SigLIP's pooling of a single patch and its text head. They lie in the same space, often near what they show,
but no loss ever asked them to, and attention has carried facts about the whole into each of them. Which
patch is nearest to a word is therefore a hint, no evidence, until it is trained for: by a linear map and a
loss over alignments, as in configs/chan-clip.toml.

TIPSv2 is trained for it: its patches are made to agree with the vector of a text that names what they show
("Advancing Vision-Language Pretraining with Enhanced Patch-Text Alignment", 2026). Its patches need no last
layer, and a word is read as a text of its own (``words`` = "alone"), the way its authors find named things.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.rows import zeroed
from wordsight.errors import InputError
from wordsight.pretrained.dual_encoders import Side, load_tower
from wordsight.pretrained.models import find_model
from wordsight.registry.limits import Size
from wordsight.sets import EmbeddingSet

WHOLE = "whole"
BOTH = "both"


@dataclass(frozen=True)
class DualOptions:
    """Settings of both sides of a dual encoder.

    ``model``       hub name ("openai/clip-vit-base-patch32") or local folder
    ``items``       the vectors of a set: "whole" for one of all, "patches" (of a text: "words") for one each,
                    "both" for the whole as the first of the set, which the similarity "dual" expects
    ``head``        a linear map to ``dim`` behind the published space; without one ``dim`` is its width
    ``freeze``      the published part gets no gradient; what is behind it still learns
    ``pool``        the set -> one vector: "gpo", "mean", ...; None keeps the set
    ``projection``       after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``pretrained``  False builds the architecture without its weights: for a saved matcher, which brings them
    ``revision``    of the hub model
    """

    model: str
    dim: Size | None = None
    items: str = WHOLE
    head: bool = False
    freeze: bool = False
    pool: PoolTable = None
    projection: ProjectionTable = None
    pretrained: bool = True
    revision: str | None = None


class DualEncoder(nn.Module):
    """A published tower, whose weights are the parameters under ``tower.``; the settings are DualOptions'."""

    side: Side
    each: str  # what one item of the set is

    def __init__(self, options: DualOptions) -> None:
        super().__init__()
        self.options, self.projection = options, options.projection
        known = (WHOLE, self.each, BOTH)
        if options.items not in known:
            raise InputError(f'items = "{options.items}" is unknown; known: {", ".join(known)}')
        model, dim = options.model, options.dim
        folder = find_model(model, options.revision) if options.pretrained else Path(model)
        tower = load_tower(folder, self.side, options.pretrained)
        self.tower = tower.requires_grad_(not options.freeze)
        width = self._width(self.tower.config)
        if not options.head and dim is not None and dim != width:
            raise InputError(
                f"head = false leaves the {width} dimensions of {model} as they are, and dim is {dim}; "
                f"set dim = {width}, or head = true"
            )
        self.dim = dim or width
        self.linear = nn.Linear(width, self.dim) if options.head else None
        self.pool = make_pool(options.pool)
        self.joint_layer = build_projection(options.projection, self.dim)
        self.train(self.training)

    def train(self, mode: bool = True) -> "DualEncoder":
        """Training mode, except for a part that is frozen."""
        super().train(mode)
        if self.options.freeze:
            self.tower.eval()
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the tower's config.json; return settings that build it without the weights."""
        place = f"{'image' if self.side == 'vision' else 'text'}_encoder"
        self.tower.config.save_pretrained(folder / place)
        return {"model": place, "pretrained": False, "revision": None}

    def _learns(self) -> torch.set_grad_enabled:
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.options.freeze)

    def _finished(self, items: EmbeddingSet) -> EmbeddingSet:
        """Apply the learned layers behind the published vectors; padding becomes zero."""
        vectors = items.vectors if self.linear is None else self.linear(items.vectors)
        masked = EmbeddingSet(zeroed(vectors, items.mask), items.mask, items.boxes)
        return projected(pooled(masked, self.pool), self.joint_layer)

    def _width(self, config: Any) -> int:
        """Numbers in a vector of the published space."""
        raise NotImplementedError
