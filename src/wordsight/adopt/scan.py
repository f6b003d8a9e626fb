"""SCAN's checkpoints: [image, text]; the similarity is in the options."""

from typing import Any

import torch

from wordsight.adopt import words_in
from wordsight.adopt.mapping import Rule
from wordsight.adopt.published import Published, Weight
from wordsight.adopt.system import Given, System, Tables, chosen, refuse_lengths
from wordsight.read.vocabulary import Vocabulary

RULES = (Rule("img.fc.", "image_encoder.linear."), *words_in.RULES)
SEEKERS = {"t2i": "word", "i2t": "region"}
NORMALIZE = {
    "clipped_l2norm": "clipped_l2",
    "l2norm": "l2",
    "clipped_l1norm": "clipped_l1",
    "l1norm": "l1",
    "clipped": "clipped",
    "softmax": "softmax",
    "no_norm": "none",
}
POOLINGS = {"LogSumExp": "log-sum-exp", "Mean": "mean", "Max": "max", "Sum": "sum"}
G, V, WHOLE = "img.fc.weight_g", "img.fc.weight_v", "img.fc.weight"


def tables(published: Published, given: Given) -> tuple[Tables, Vocabulary | None]:
    refuse_lengths(published)
    return encoders(published, given, _similarity(published) if published.options is not None else {})


def encoders(
    published: Published, given: Given, similarity: dict[str, Any]
) -> tuple[Tables, Vocabulary | None]:
    """The tables that SCAN and CASC share, around a similarity."""
    dim, feature_dim = published.size(WHOLE)
    tokenizer, vocabulary = words_in.words(published, given)
    parts: Tables = {
        "reader": {"name": "precomputed", "feature_dim": feature_dim},
        "tokenizer": tokenizer,
        "image_encoder": {"name": "regions", "feature_dim": feature_dim, "dim": dim},
        "text_encoder": words_in.recurrent(published),
        "similarity": similarity,
    }
    return parts, vocabulary


def _similarity(published: Published) -> dict[str, Any]:
    return {
        "name": "cross-attention",
        "seeker": chosen(published, "cross_attn", "t2i", SEEKERS),
        "temperature": 1 / published.option("lambda_softmax", 9.0),
        "normalize": chosen(published, "raw_feature_norm", "clipped_l2norm", NORMALIZE),
        "pooling": pooling(published, "agg_func", "LogSumExp", 6.0),
    }


def pooling(published: Published, option: str, default: str, sharpness: float) -> dict[str, Any]:
    """What an ``agg_func`` is called here; log-sum-exp divides by ``lambda_lse``, as SCAN does."""
    table: dict[str, Any] = {"name": chosen(published, option, default, POOLINGS)}
    if table["name"] == "log-sum-exp":
        table |= {"temperature": 1 / published.option("lambda_lse", sharpness), "scaled": True}
    return table


def fold_weight_norm(published: Published, given: Given) -> Published:  # noqa: ARG001
    """``precomp_enc_type weight_norm``: a length and a direction of the whole matrix, made one matrix."""
    if V not in published.weights:
        return published
    length, direction = published.weights[G], published.weights[V]
    matrix = length.tensor * direction.tensor / torch.linalg.vector_norm(direction.tensor)
    rest = {name: weight for name, weight in published.weights.items() if name not in (G, V)}
    return published.with_weights(
        {WHOLE: Weight(f"{length.source} x {direction.source} / its norm", matrix)} | rest
    )


def recognizes(published: Published) -> bool:
    options = published.options
    plain = published.has("txt.rnn.") and (WHOLE in published.weights or V in published.weights)
    alone = not any(map(published.has, ("head.", "img.gpool.", "img.feedforward.", "txt.fc.", "txt.gpool.")))
    asked = options is None or ("agg_func" in options and "cross_attn" in options)
    return plain and alone and asked


SYSTEM = System("scan", recognizes, tables, RULES, fold_weight_norm)
