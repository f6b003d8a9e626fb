"""VSE-infinity's checkpoints: [image, text], each ending in a generalized pooling operator."""

from typing import Any

from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.parts import grid as grid_parts
from wordsight.importers.parts import text as text_parts
from wordsight.importers.system import Description, Given, System, Tables, lengths
from wordsight.importers.weight_map import Rule

RULES = (
    Rule("img.fc.", "image_encoder.linear."),
    Rule("img.mlp.layers.0.", "image_encoder.residual.0."),
    Rule("img.mlp.bns.0.", "image_encoder.residual.1."),
    Rule("img.mlp.layers.1.", "image_encoder.residual.3."),
    Rule("img.mlp.bns.1.", None, "a second batch norm that the published code builds and never applies"),
    Rule("img.gpool.", "image_encoder.pool."),
    Rule("txt.gpool.", "text_encoder.pool."),
    *grid_parts.RULES,
    *text_parts.RULES,
)


def describe(published: Published, given: Given) -> Description:
    grid = published.has(grid_parts.CNN)
    image = grid_parts.parts(published, given) if grid else _regions(published)
    image["image_encoder"]["pool"] = _gpo(published, "img.image_encoder" if grid else "img")
    text, vocabulary = text_parts.text(published, given)
    text["text_encoder"]["pool"] = _gpo(published, "txt")
    parts = {**image, **text, "similarity": {"name": "cosine"} | lengths(published)}
    if not grid:
        return Description(published, parts, vocabulary)
    return Description(grid_parts.renamed(published), parts, vocabulary, grid_parts.NOTES)


def _regions(published: Published) -> Tables:
    dim, feature_dim = published.size("img.fc.weight", 2)
    image = {"name": "regions", "feature_dim": feature_dim, "dim": dim, "mlp": published.has("img.mlp.")}
    return {"reader": {"name": "precomputed", "feature_dim": feature_dim}, "image_encoder": image}


def _gpo(published: Published, side: str) -> dict[str, Any]:
    width, position_dim = published.size(f"{side}.gpool.gru.weight_ih_l0", 2)
    return {"name": "gpo", "position_dim": position_dim, "hidden": width // 3}  # three gates


def recognizes(published: Published) -> bool:
    return published.has("img.gpool.") or published.has("img.image_encoder.gpool.")


SYSTEM = System("vse-infinity", recognizes, describe, RULES)
