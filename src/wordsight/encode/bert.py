"""Tokens -> a vector per wordpiece, or per text: a pretrained transformer of Hugging Face's, a linear map."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wordsight.encode.base import TextEncoder
from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.recurrent import read_both_ways
from wordsight.encode.rows import packed, unpacked
from wordsight.encode.state_cache import StateCache
from wordsight.errors import InputError
from wordsight.pretrained.models import import_transformers
from wordsight.pretrained.published_files import built_from, check_published
from wordsight.registry.limits import NotNegative, Share, ShareBelowOne, Size
from wordsight.sets import EmbeddingSet, Tokens

FOLDER = "text_encoder"  # where the architecture is saved, inside a matcher's folder


class BertEncoder(TextEncoder):
    """The last hidden states of a BERT, or any text model that ``AutoModel`` knows, and a linear map.

    ``model``        hub name ("bert-base-uncased") or local folder; the tokenizer must be of the same model
    ``freeze``       the pretrained part gets no gradient and no dropout; the linear map still learns
    ``pretrained``   False builds the architecture of ``model`` without its weights: for a saved matcher,
                     which brings its own
    ``pool``         wordpieces -> one vector per text: "gpo" (VSE-infinity), "mean", ...; None keeps them
    ``projection``        after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``recurrent``    a GRU reads the hidden states both ways; the mean of its directions is added to the
                     linear map's vectors
    ``dropout``      share of the numbers of the hidden states dropped in training
    ``drop_states``  share of the hidden states that are zeros in training, whole wordpieces at a time
    ``cache_mb``     with ``freeze``: memory for the hidden states of training texts, so that a text passes
                     through the network once ([training] drop_words makes other texts of it; use drop_states)

    The pretrained weights are the parameters under ``bert.``, so that a group of that prefix can have a
    lower learning rate. The special tokens count as words, as they do in CHAN and VSE-infinity.
    """

    def __init__(
        self,
        model: str,
        dim: Size = 1024,
        freeze: bool = False,
        pretrained: bool = True,
        pool: PoolTable = None,
        projection: ProjectionTable = None,
        recurrent: bool = False,
        dropout: Share = 0.0,
        drop_states: ShareBelowOne = 0.0,
        cache_mb: NotNegative = 0.0,
    ):
        super().__init__()
        self.model = model
        self.dim = dim
        self.freeze = freeze
        self.pretrained = pretrained
        self.projection = projection
        self.recurrent, self.cache_mb = recurrent, cache_mb
        self.dropout, self.drop_states = dropout, drop_states
        if cache_mb and not freeze:
            raise InputError(f"cache_mb = {cache_mb} stores states that training changes; set freeze = true")
        self.bert = _load(model, pretrained).requires_grad_(not freeze)
        hidden = self.bert.config.hidden_size
        self.linear = nn.Linear(hidden, dim)
        self.reader = nn.GRU(hidden, dim, batch_first=True, bidirectional=True) if recurrent else None
        self._cache = StateCache(cache_mb)
        self.pool = make_pool(pool)
        self.joint_layer = build_projection(projection, dim)
        self.train(self.training)

    def forward(self, texts: Tokens) -> EmbeddingSet:
        """One vector, not normalized, per wordpiece, or per text if pooled; those of padding are zero."""
        self._check(texts)
        hidden = self._dropped(self._hidden(texts))
        vectors = unpacked(self.linear(packed(hidden, texts.mask)), texts.mask)
        if self.reader is not None:
            vectors = vectors + read_both_ways(self.reader, hidden, texts)
        return projected(pooled(EmbeddingSet(vectors, texts.mask), self.pool), self.joint_layer)

    def _hidden(self, texts: Tokens) -> Float[Tensor, "text word hidden"]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            if self.training and self.cache_mb:
                return self._cache.read(texts, self._states)
            return self._states(texts)

    def _states(self, texts: Tokens) -> Float[Tensor, "text word hidden"]:
        hidden: Tensor = self.bert(input_ids=texts.ids, attention_mask=texts.mask.long())[0]
        return hidden

    def _dropped(self, hidden: Float[Tensor, "text word hidden"]) -> Float[Tensor, "text word hidden"]:
        """Some numbers, and all numbers of some states, are zeros in training."""
        if self.training and self.drop_states:
            stays = torch.rand(hidden.shape[:2], device=hidden.device) >= self.drop_states
            hidden = hidden * stays[..., None]
        return nn.functional.dropout(hidden, self.dropout, self.training)

    def train(self, mode: bool = True) -> "BertEncoder":
        """Training mode, except for the frozen part: its dropout would only add noise."""
        super().train(mode)
        if self.freeze:
            self.bert.eval()
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the architecture's config.json; return settings that build it without the weights."""
        self.bert.config.save_pretrained(folder / FOLDER)
        return {
            "model": FOLDER, "dim": self.dim, "freeze": self.freeze, "pretrained": False,
            "recurrent": self.recurrent, "dropout": self.dropout,
            "drop_states": self.drop_states, "cache_mb": self.cache_mb,
        }  # fmt: skip

    def _check(self, texts: Tokens) -> None:
        config = self.bert.config
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and texts.ids.shape[1] > longest:
            raise InputError(
                f"a text of the batch has {texts.ids.shape[1]} wordpieces, but {self.model} reads at most "
                f"{longest}; set the tokenizer's longest to that"
            )
        highest = int(texts.ids.max())
        if highest >= config.vocab_size:
            raise InputError(
                f"wordpiece id {highest} is beyond the {config.vocab_size} of {self.model}; "
                "the tokenizer and the text encoder must come from the same model"
            )


def _load(model: str, pretrained: bool) -> Any:
    """The transformer, without the pooler that no word vector passes through."""
    transformers = import_transformers()
    check_published(Path(model))
    try:
        with built_from(model):
            if pretrained:
                bert = transformers.AutoModel.from_pretrained(
                    model, dtype=torch.float32, trust_remote_code=False
                )
            else:
                config = transformers.AutoConfig.from_pretrained(model, trust_remote_code=False)
                bert = transformers.AutoModel.from_config(config, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(_not_found(model, error)) from error
    if getattr(bert, "pooler", None) is not None:
        bert.pooler = None
    return bert


def _not_found(model: str, error: Exception) -> str:
    what = "no model could be read from it" if Path(model).is_dir() else "it is no folder here"
    return (
        f'text encoder model "{model}": {what}, and the hub gave none of that name '
        f"({str(error).splitlines()[0]}); offline, set model to a local folder with config.json and "
        "model.safetensors (where there is a network, hf download NAME --local-dir FOLDER fetches one)"
    )
