"""SCAN's checkpoints: [image, text]; the similarity is in the options."""

from typing import Any

from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.parts import words
from wordsight.importers.system import Description, Given, System, Tables, chosen, lengths, positive
from wordsight.importers.weight_map import Rule

LENGTH, DIRECTION, WHOLE = "img.fc.weight_g", "img.fc.weight_v", "img.fc.weight"
RULES = (
    Rule("img.fc.", "image_encoder.linear."),
    Rule(LENGTH, "image_encoder.linear.parametrizations.weight.original0"),
    Rule(DIRECTION, "image_encoder.linear.parametrizations.weight.original1"),
    *words.RULES,
)
DIRECTIONS = {"t2i": "word", "i2t": "region"}
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


def describe(published: Published, given: Given) -> Description:
    return around(similarity(published) if published.options is not None else {}, published, given)


def around(table: dict[str, Any], published: Published, given: Given) -> Description:
    """The parts that SCAN and CASC share, around the table of a similarity."""
    by_length = DIRECTION in published.weights  # precomp_enc_type weight_norm
    dim, feature_dim = published.size(DIRECTION if by_length else WHOLE, 2)
    tokenizer, vocabulary = words.words(published, given)
    parts: Tables = {
        "reader": {"name": "precomputed", "feature_dim": feature_dim},
        "tokenizer": tokenizer,
        "image_encoder": {
            "name": "regions", "feature_dim": feature_dim, "dim": dim, "weight_norm": by_length,
        },
        "text_encoder": words.recurrent(published),
        "similarity": table,
    }  # fmt: skip
    return Description(published, parts, vocabulary)


def similarity(published: Published) -> dict[str, Any]:
    """The similarity table from the published options."""
    return {
        "name": "cross-attention",
        "direction": chosen(published, "cross_attn", "t2i", DIRECTIONS),
        "temperature": 1 / positive(published, "lambda_softmax", 9.0),
        "normalize": chosen(published, "raw_feature_norm", "clipped_l2norm", NORMALIZE),
        "pooling": pooling(published, "agg_func", "LogSumExp", 6.0),
    } | lengths(published)


def pooling(published: Published, option: str, default: str, sharpness: float) -> dict[str, Any]:
    """Our pooling for an ``agg_func``; log-sum-exp divides by ``lambda_lse``, as SCAN does."""
    table: dict[str, Any] = {"name": chosen(published, option, default, POOLINGS)}
    if table["name"] == "log-sum-exp":
        table |= {"temperature": 1 / positive(published, "lambda_lse", sharpness), "scaled": True}
    return table


def recognizes(published: Published) -> bool:
    options = published.options
    return plain(published) and (options is None or ("agg_func" in options and "cross_attn" in options))


def plain(published: Published) -> bool:
    """A linear map and a GRU, and nothing else: SCAN and VSE++ look alike but for their options."""
    more = ("head.", "img.gpool.", "img.feedforward.", "img.cnn.", "txt.fc.", "txt.gpool.")
    mapped = WHOLE in published.weights or DIRECTION in published.weights
    return mapped and published.has("txt.rnn.") and not any(map(published.has, more))


SYSTEM = System("scan", recognizes, describe, RULES)
