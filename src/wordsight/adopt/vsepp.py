"""VSE++'s checkpoints: [image, text], one vector each; the measure is in the options."""

from typing import Any

from wordsight.adopt import scan, words_in
from wordsight.adopt.mapping import Rule
from wordsight.adopt.published import Published
from wordsight.adopt.system import Description, Given, System, chosen, lengths

RULES = (Rule("img.fc.", "image_encoder.linear."), *words_in.RULES)
BACKWARDS = "txt.rnn.weight_ih_l0_reverse"  # which no GRU of VSE++ reads
MEASURES = {"cosine": "cosine", "order": "order"}


def describe(published: Published, given: Given) -> Description:
    if published.has("img.cnn."):
        raise ValueError(
            f"{published.path} looks at pictures through a network of its own, whose numbers are scaled to "
            "length 1 before the linear map; no encoder here does that. Models of precomputed features can "
            "be imported"
        )
    dim, feature_dim = published.size("img.fc.weight")
    tokenizer, vocabulary = words_in.words(published, given)
    parts = {
        "reader": {"name": "precomputed", "feature_dim": feature_dim},
        "tokenizer": tokenizer,
        "image_encoder": {"name": "regions", "feature_dim": feature_dim, "dim": dim},
        "text_encoder": words_in.recurrent(published) | {"pool": "last"},
        "similarity": {} if published.options is None else _similarity(published),
    }
    return Description(published, parts, vocabulary)


def _similarity(published: Published) -> dict[str, Any]:
    name = chosen(published, "measure", "cosine", MEASURES)
    absolute = bool(published.option("use_abs", False))
    if name == "order":
        return {"name": name, "absolute": absolute} | lengths(published)
    if absolute:
        raise ValueError(
            f"{published.path} was trained with use_abs and measure cosine; absolute values are taken here "
            "in order embeddings alone"
        )
    return {"name": name} | lengths(published)


def recognizes(published: Published) -> bool:
    if published.options is None:
        return published.has("img.cnn.") or (scan.plain(published) and not published.has(BACKWARDS))
    return "measure" in published.options


SYSTEM = System("vsepp", recognizes, describe, RULES)
