"""VSE-infinity's checkpoints: [image, text], each ending in a generalized pooling operator."""

from typing import Any

from wordsight.adopt import text_in
from wordsight.adopt.mapping import Rule
from wordsight.adopt.published import Published
from wordsight.adopt.system import Description, Given, System, lengths

RULES = (
    Rule("img.fc.", "image_encoder.linear."),
    Rule("img.mlp.layers.0.", "image_encoder.residual.0."),
    Rule("img.mlp.bns.0.", "image_encoder.residual.1."),
    Rule("img.mlp.layers.1.", "image_encoder.residual.3."),
    Rule("img.mlp.bns.1.", None, "a second batch norm that the published code builds and never applies"),
    Rule("img.gpool.", "image_encoder.pool."),
    Rule("txt.gpool.", "text_encoder.pool."),
    *text_in.RULES,
)


def describe(published: Published, given: Given) -> Description:
    if published.has("img.backbone."):
        raise ValueError(
            f"{published.path} looks at grids through a ResNet of its own. Its first pooling pads as in no "
            "network that transformers loads, so it cannot be carried over exactly; models of regions can"
        )
    dim, feature_dim = published.size("img.fc.weight")
    image: dict[str, Any] = {"name": "regions", "feature_dim": feature_dim, "dim": dim}
    image |= {"mlp": published.has("img.mlp."), "pool": _gpo(published, "img")}
    text, vocabulary = text_in.text(published, given)
    text["text_encoder"]["pool"] = _gpo(published, "txt")
    reader = {"name": "precomputed", "feature_dim": feature_dim}
    parts = {
        "reader": reader,
        "image_encoder": image,
        **text,
        "similarity": {"name": "cosine"} | lengths(published),
    }
    return Description(published, parts, vocabulary)


def _gpo(published: Published, side: str) -> dict[str, Any]:
    width, position_dim = published.size(f"{side}.gpool.gru.weight_ih_l0")
    return {"name": "gpo", "position_dim": position_dim, "hidden": width // 3}  # three gates


def recognizes(published: Published) -> bool:
    return published.has("img.gpool.") or published.has("img.image_encoder.gpool.")


SYSTEM = System("vse-infinity", recognizes, describe, RULES)
