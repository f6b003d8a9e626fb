"""CHAN's checkpoints: [image, text, similarity, criterion], the latter two without weights."""

from typing import Any

from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.parts import text as text_parts
from wordsight.importers.system import Description, Given, System, Tables, chosen, lengths, positive
from wordsight.importers.weight_map import Rule

LAYER = "image_encoder.layer."
RULES = (
    Rule("img.fc.", "image_encoder.linear."),
    Rule("img.feedforward.attn.", f"{LAYER}attention.heads."),
    Rule("img.feedforward.ln.", f"{LAYER}norm."),
    Rule("img.feedforward.ln_1.", f"{LAYER}norm_before_attention."),
    Rule("img.feedforward.mlp.c_fc.", f"{LAYER}mlp.0."),
    Rule("img.feedforward.mlp.c_proj.", f"{LAYER}mlp.3."),
    Rule("img.feedforward.ln_2.", f"{LAYER}norm_before_mlp."),
    Rule("txt.fc.", None, "a linear map after the BiGRU that the published code builds and never applies"),
    *text_parts.RULES,
)
POOLINGS = {
    "MeanPooling": "mean",
    "MaxPooling": "max",
    "SumPooling": "sum",
    "SoftmaxPooling": "softmax",
    "LSEPooling": "log-sum-exp",
}
CODINGS = {
    "VHACoding": {"name": "max-sim", "direction": "word"},
    "THACoding": {"name": "max-sim", "direction": "region"},
    "VSACoding": {"name": "cross-attention", "direction": "region", "normalize": "none"},
}


def describe(published: Published, given: Given) -> Description:
    text, vocabulary = text_parts.text(published, given)
    image = {"reader": {"name": "precomputed", "feature_dim": published.size("img.fc.weight", 2)[1]}}
    image["image_encoder"] = _regions(published)
    parts: Tables = {**image, **text, "similarity": _similarity(published)}
    return Description(published, parts, vocabulary, _notes(published))


def _regions(published: Published) -> dict[str, Any]:
    dim, feature_dim = published.size("img.fc.weight", 2)
    attention = "self-attention" if published.has("img.feedforward.ln.") else "none"
    table = {"name": "regions", "feature_dim": feature_dim, "dim": dim, "attention": attention}
    if published.has("img.feedforward.ln_1."):  # it was trained to look along the batch, so it must go on to
        table |= {"attention": "transformer", "attend_batch": True}
    return table


def _similarity(published: Published) -> dict[str, Any]:
    if published.options is None:
        return {}
    table: dict[str, Any] = dict(chosen(published, "coding_type", None, CODINGS))
    if table["name"] == "cross-attention":
        # VSA divides by the length of the blend alone: a region that is not normalized counts with its own.
        table |= {"temperature": positive(published, "alpha", None), "keep_query_length": True}
    return table | {"pooling": _pooling(published)} | lengths(published)


def _pooling(published: Published) -> dict[str, Any]:
    pooling: dict[str, Any] = {"name": chosen(published, "pooling_type", None, POOLINGS)}
    if pooling["name"] in ("softmax", "log-sum-exp"):
        pooling["temperature"] = positive(published, "belta", 0.1)
    if pooling["name"] == "log-sum-exp":  # the published code leaves out the factor before the logarithm
        pooling["scaled"] = False
    return pooling


def _notes(published: Published) -> list[str]:
    notes = []
    if published.has("img.feedforward.ln_1."):
        notes.append(
            "its transformer attends along the batch: a picture's scores depend on the pictures beside it "
            "(attend_batch)"
        )
    if published.has("img.feedforward.ln."):
        notes.append(
            "its attention looks at padding too; here it does not, which is the same for pictures of equally "
            "many regions (--config with attend_padding = true brings it back)"
        )
    return notes


def recognizes(published: Published) -> bool:
    options = published.options or {}
    return published.has("img.feedforward.") or "coding_type" in options


SYSTEM = System("chan", recognizes, describe, RULES)
