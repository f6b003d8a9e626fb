"""CASC's checkpoints: [image, text, label head]; both directions of attention and the labels' agreement."""

from typing import Any

from wordsight.importers import scan
from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.system import Description, Given, System, chosen, lengths, positive
from wordsight.importers.weight_map import Rule

RULES = (
    *scan.RULES,
    Rule("head.fc1.", "similarity.head.first."),
    Rule("head.fc2.", "similarity.head.last."),
)
MIX = 0.8  # a constant of the published code


def describe(published: Published, given: Given) -> Description:
    hidden, dim = published.size("head.fc1.weight", 2)
    semantic: dict[str, Any] = {
        "name": "label-agreement", "dim": dim, "hidden": hidden,
        "labels": published.size("head.fc2.weight", 2)[0],
    }  # fmt: skip
    if published.options is not None:
        semantic |= {"mix": MIX, "similarity": _both_ways(published)}
    return scan.around(semantic, published, given)


def _both_ways(published: Published) -> dict[str, Any]:
    """cross_attn = all, the only value that the published code runs with."""
    attention = {
        "name": "cross-attention",
        "normalize": chosen(published, "raw_feature_norm", "clipped_l2norm", scan.NORMALIZE),
    } | lengths(published)
    return {
        "name": "bidirectional",
        "words": attention
        | {
            "temperature": 1 / positive(published, "lambda_softmax_avg", 9.0),
            "pooling": scan.pooling(published, "t2i_agg_func", "Mean", 5.0),
        },
        "regions": attention
        | {
            "temperature": 1 / positive(published, "lambda_softmax_lse", 4.0),
            "pooling": scan.pooling(published, "i2t_agg_func", "LogSumExp", 5.0),
        },
    }


def recognizes(published: Published) -> bool:
    return published.has("head.fc1.") and published.has("head.fc2.")


SYSTEM = System("casc", recognizes, describe, RULES)
