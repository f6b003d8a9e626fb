"""Tokens -> vectors of the space that a published dual encoder has for pictures and texts."""

from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wordsight.encode.base import TextEncoder
from wordsight.encode.dual import WHOLE, DualEncoder, DualOptions
from wordsight.encode.words_alone import distinct_words
from wordsight.errors import InputError
from wordsight.pretrained.dual_encoders import Side
from wordsight.pretrained.models import find_model
from wordsight.pretrained.pieces import word_starts
from wordsight.registry.limits import Whole
from wordsight.registry.options import takes
from wordsight.sets import EmbeddingSet, Tokens

IN_CONTEXT = "in-context"
ALONE = "alone"


@dataclass(frozen=True)
class DualTextOptions(DualOptions):
    """Settings of a DualTextEncoder, behind those of both sides.

    ``pad_id``   what SigLIP is shown behind a text, up to the length it was trained with: the tokenizer's
    ``words``    vectors of words: "in-context", the model's states where they stand in their text, or of
                 TIPSv2 "alone", each read as a text of its own, which its patches are trained to agree with
    """

    pad_id: Whole = 1
    words: str = IN_CONTEXT

    def __post_init__(self) -> None:
        if self.words not in (IN_CONTEXT, ALONE):
            raise InputError(f'words = "{self.words}" is unknown; known: {IN_CONTEXT}, {ALONE}')


class DualTextEncoder(DualEncoder, TextEncoder):
    """The text side of a dual encoder, see DualTextOptions; the tokenizer must be "dual" too.

    The first token of "dual" Tokens stands for the whole text: its place in the set holds the text's
    vector, or is masked with items = "words". The marks are never words.
    """

    side: Side = "text"
    each = "words"
    options: DualTextOptions
    starts: Bool[Tensor, " id"]  # which pieces begin a word; of words = "alone"

    @takes(DualTextOptions)
    def __init__(self, options: DualTextOptions) -> None:
        super().__init__(options)
        if options.words == ALONE:
            self._find_starts()

    def _find_starts(self) -> None:
        if not self._is_tips:
            raise InputError(
                f'words = "{ALONE}" is for TIPSv2, whose patches are trained to agree with words that are '
                f'read so, and {self.options.model} is another model; set words = "{IN_CONTEXT}"'
            )
        size = int(self.tower.config.vocab_size)
        known = torch.zeros(size, dtype=torch.bool)  # a saved matcher brings them with its weights
        if self.options.pretrained:
            known = word_starts(find_model(self.options.model, self.options.revision), size)
        self.register_buffer("starts", known)

    def forward(self, texts: Tokens) -> EmbeddingSet:
        """Not normalized; one vector per text, per piece of a word, or both, as ``items`` says."""
        self._check(texts)
        with self._learns():
            vectors = self._vectors(texts)
        mask = self._mask(texts)
        if self.options.items == WHOLE:
            vectors, mask = vectors[:, :1], mask[:, :1]
        return self._finished(EmbeddingSet(vectors, mask))

    def _vectors(self, texts: Tokens) -> Float[Tensor, "text word dim"]:
        if self._is_tips:
            return self._tips(texts)
        return self._clip(texts) if self._is_clip else self._siglip(texts)

    def _clip(self, texts: Tokens) -> Float[Tensor, "text word dim"]:
        """A word sees those before it, so padding behind a text changes nothing, and its end has seen all."""
        moved = self._ends_first(texts)
        ids = self._laid_out(texts, texts.ids.shape[1]) if moved else texts.ids
        states: Tensor = self.tower(input_ids=ids).last_hidden_state
        ends = states[torch.arange(states.shape[0], device=states.device), texts.lengths - 1]
        words = states[:, :-1] if moved else states[:, 1:]
        projected: Tensor = self.tower.text_projection(torch.cat([ends[:, None], words], 1))
        return projected

    def _siglip(self, texts: Tokens) -> Float[Tensor, "text word dim"]:
        """Padded to the length that it was trained with and sees; the last place is the whole text."""
        ids = self._laid_out(texts, self.tower.config.max_position_embeddings)
        states: Tensor = self.tower(input_ids=ids).last_hidden_state
        words = states[:, : texts.ids.shape[1] - 1]
        projected: Tensor = self.tower.head(torch.cat([states[:, -1:], words], 1))
        return projected

    def _tips(self, texts: Tokens) -> Float[Tensor, "text word dim"]:
        """A text is the mean of its words' states; padding is masked."""
        ids, mask = texts.ids[:, 1:], texts.mask[:, 1:]
        output = self.tower(input_ids=ids, attention_mask=mask.long())
        words: Tensor = output.last_hidden_state
        if self.reads_words_alone:
            words = self._alone(ids, mask)
        return torch.cat([output.pooler_output[:, None], words], 1)

    def _alone(
        self, ids: Int[Tensor, "text piece"], mask: Bool[Tensor, "text piece"]
    ) -> Float[Tensor, "text piece dim"]:
        """Each word's vector as that of a text; the pieces of a word have the same."""
        starts = self.starts[ids].cpu().numpy()
        found = distinct_words(ids.cpu().numpy(), mask.cpu().numpy(), starts, self.options.pad_id)
        words, real, word_of = (torch.from_numpy(one).to(ids.device) for one in found)
        vectors: Tensor = self.tower(input_ids=words, attention_mask=real.long()).pooler_output
        return vectors[word_of] * mask[..., None]

    def for_whole_texts(self) -> "DualTextEncoder":
        """This encoder, with its weights, without vectors of words."""
        other = copy(self)
        other.options = replace(self.options, items=WHOLE, words=IN_CONTEXT)
        return other

    @property
    def reads_words_alone(self) -> bool:
        """Whether words are texts of their own, which no single graph can read."""
        return self.options.words == ALONE and self.options.items != WHOLE

    def _ends_first(self, texts: Tokens) -> bool:
        """Whether the end stands first, for a model that has no mark before its texts."""
        if not self._is_clip:
            return not self._is_tips
        return len(texts) > 0 and int(texts.ids[0, 0]) == self.tower.config.eos_token_id

    def _laid_out(self, texts: Tokens, places: int) -> Int[Tensor, "text place"]:
        """The words, the end that stood before them, padding."""
        size = (texts.ids.shape[0], places)
        placed = torch.full(size, self.options.pad_id, dtype=texts.ids.dtype, device=texts.device)
        words = texts.ids[:, 1:].masked_fill(~texts.mask[:, 1:], self.options.pad_id)
        placed[:, : words.shape[1]] = words
        return placed.scatter_(1, texts.lengths[:, None] - 1, texts.ids[:, :1])

    def _mask(self, texts: Tokens) -> Bool[Tensor, "text word"]:
        """Without the end of CLIP's texts, which is the whole text; and without that if only words count."""
        mask = texts.mask
        place = torch.arange(mask.shape[1], device=mask.device)
        if self._is_clip and not self._ends_first(texts):
            mask = mask & (place != mask.sum(1, keepdim=True) - 1)
        return mask & (place > 0) if self.options.items == self.each else mask | (place == 0)

    def _check(self, texts: Tokens) -> None:
        config = self.tower.config
        most = config.max_position_embeddings + self._is_tips  # whose first token only stands for the text
        if texts.ids.shape[1] > most:
            raise InputError(
                f"a text of the batch has {texts.ids.shape[1]} tokens, but {self.options.model} reads at "
                f"most {most}; set the tokenizer's longest to that"
            )
        if len(texts) and int(texts.ids.max()) >= config.vocab_size:
            raise InputError(
                f"token {int(texts.ids.max())} is beyond the {config.vocab_size} of {self.options.model}; "
                "the tokenizer and the text encoder must come from the same model"
            )

    @property
    def _is_clip(self) -> bool:
        return hasattr(self.tower, "text_projection")

    @property
    def _is_tips(self) -> bool:
        return not self._is_clip and not hasattr(self.tower, "head")

    def _width(self, config: Any) -> int:
        if self._is_tips:
            return int(config.hidden_size)
        return int(config.projection_dim if self._is_clip else config.projection_size)
