"""VSE++'s checkpoints: [image, text], one vector each, of precomputed features or through a ResNet."""

from typing import Any

from wordsight.errors import InputError
from wordsight.importers import scan
from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.parts import cnn, words
from wordsight.importers.system import Description, Given, System, Tables, chosen, lengths
from wordsight.importers.weight_map import Rule

RULES = (
    Rule("img.fc.", "image_encoder.linear."),
    Rule("image_encoder.backbone.", "image_encoder.backbone."),
    *words.RULES,
)
MEASURES = {"cosine": "cosine", "order": "order"}
BACKWARDS = "txt.rnn.weight_ih_l0_reverse"  # which no GRU of VSE++ reads
CNN = "img.cnn."
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures


def describe(published: Published, given: Given) -> Description:
    renamed = _renamed(published) if published.has(CNN) else published
    tokenizer, vocabulary = words.words(published, given)
    parts = {
        **(_pixels(published, given) if published.has(CNN) else _precomputed(published)),
        "tokenizer": tokenizer,
        "text_encoder": words.recurrent(published) | {"pool": "last"},
        "similarity": {} if published.options is None else _similarity(published),
    }
    return Description(renamed, parts, vocabulary)


def _precomputed(published: Published) -> Tables:
    """One vector per picture is a set of one region."""
    dim, feature_dim = published.size("img.fc.weight", 2)
    return {
        "reader": {"name": "precomputed", "feature_dim": feature_dim},
        "image_encoder": {"name": "regions", "feature_dim": feature_dim, "dim": dim},
    }


def _pixels(published: Published, given: Given) -> Tables:
    """The network's input is the mean of its cells (grid = 1), scaled to length 1 before the linear map."""
    config = cnn.resnet(published, CNN)[1]
    return {
        "reader": {
            "name": "pixels", "size": 224, "keep_aspect": True, "short_side": 256,
            "round_crop": True,
            "mean": list(MEAN), "std": list(STD),
        },
        "image_encoder": {
            "name": "backbone", "model": cnn.write_config(config, given.work), "pretrained": False,
            "dim": published.size("img.fc.weight", 2)[0], "grid": 1, "normalize_input": True,
        },
    }  # fmt: skip


def _renamed(published: Published) -> Published:
    if f"{CNN}conv1.weight" not in published.weights:
        raise InputError(
            f"{published.path} looks at pictures through a VGG or AlexNet, which transformers does not load; "
            "models with a ResNet, or of precomputed features, can be imported"
        )
    names = cnn.resnet(published, CNN)[0]
    return published.with_weights(
        {
            f"image_encoder.backbone.{names[name]}" if name in names else name: weight
            for name, weight in published.weights.items()
        }
    )


def _similarity(published: Published) -> dict[str, Any]:
    name = chosen(published, "measure", "cosine", MEASURES)
    absolute = bool(published.option("use_abs", False))
    if name == "order":
        return {"name": name, "absolute": absolute} | lengths(published)
    if absolute:
        raise InputError(
            f"{published.path} was trained with use_abs and measure cosine; absolute values are taken here "
            "in order embeddings alone"
        )
    return {"name": name} | lengths(published)


def recognizes(published: Published) -> bool:
    if published.options is None:
        return published.has(CNN) or (scan.plain(published) and not published.has(BACKWARDS))
    return "measure" in published.options


SYSTEM = System("vsepp", recognizes, describe, RULES)
