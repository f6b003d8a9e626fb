"""A published config.json -> transformers' config of the model, also of TIPSv2's first release."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from wordsight.errors import InputError
from wordsight.files import plain_json

# TIPSv2's first release names its vision transformer instead of describing it: layers, heads
_VISION = {"vit_base": (12, 12), "vit_large": (24, 16), "vit_giant2": (40, 24)}


def published_config(transformers: ModuleType, folder: str | Path, **options: Any) -> Any:
    """The config in a folder, or of a hub name."""
    facts = first_release(Path(folder))
    if facts is None:
        return transformers.AutoConfig.from_pretrained(folder, **options)
    return _of_first_release(transformers, facts, Path(folder))


def first_release(folder: Path) -> Mapping[str, Any] | None:
    """The config.json of TIPSv2's first release, which needs code of its repository; None for any other."""
    path = folder / "config.json"
    facts = plain_json.read(path) if path.is_file() else None
    if not isinstance(facts, Mapping) or facts.get("model_type") != "tipsv2":
        return None
    return facts if "vision_fn" in facts and "vision_config" not in facts else None


def _of_first_release(transformers: ModuleType, facts: Mapping[str, Any], folder: Path) -> Any:
    """The model's config in the words of transformers."""
    if facts["vision_fn"] not in _VISION:
        raise InputError(
            f"{folder}/config.json is of TIPSv2's first release, and its vision_fn {facts['vision_fn']!r} is "
            f"not known; known: {', '.join(_VISION)}",
            "fetch the repository's current config.json, which has a vision_config",
        )
    layers, heads = _VISION[facts["vision_fn"]]
    try:
        vision = {
            "hidden_size": facts["embed_dim"],
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": facts["img_size"],
            "patch_size": facts["patch_size"],
            "num_register_tokens": facts["num_register_tokens"],
            "layerscale_value": facts["init_values"],
            "use_swiglu_ffn": facts["ffn_layer"] == "swiglu",
        }
        text = {
            "hidden_size": facts["text_hidden_size"],
            "intermediate_size": facts["text_mlp_dim"],
            "num_hidden_layers": facts["text_num_layers"],
            "num_attention_heads": facts["text_num_heads"],
            "vocab_size": facts["vocab_size"],
            "max_position_embeddings": facts["max_len"],
        }
        return transformers.Tipsv2Config(
            vision_config=vision, text_config=text, temperature_init_value=facts["temperature"]
        )
    except KeyError as error:
        raise InputError(f"{folder}/config.json has no {error.args[0]}; fetch it again") from error
