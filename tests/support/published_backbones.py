"""Small published vision models of each family, and photographs to read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SIZED = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "resample": 2,
}
SQUARE = SIZED | IMAGENET | {"size": {"height": 32, "width": 32}}
CENTRE = SIZED | IMAGENET | {"size": {"shortest_edge": 40}, "do_center_crop": True, "resample": 3}
CENTRE = CENTRE | {"crop_size": {"height": 32, "width": 32}}
TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT = TRANSFORMER | {"vocab_size": 20, "max_position_embeddings": 8}
EYE = TRANSFORMER | {"image_size": 32, "patch_size": 8}


def clip() -> Any:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=EYE, projection_dim=8)
    return transformers.CLIPModel(config)


def metaclip() -> Any:
    config = transformers.MetaClip2Config(text_config=TEXT, vision_config=EYE, projection_dim=8)
    return transformers.MetaClip2Model(config)


def siglip() -> Any:
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=EYE))


def resnet() -> Any:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    return transformers.ResNetModel(config)


def convnext() -> Any:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    return transformers.ConvNextModel(config)


def mobilenet() -> Any:
    return transformers.MobileNetV2Model(transformers.MobileNetV2Config(depth_multiplier=0.35))


def dinov3() -> Any:
    config = transformers.DINOv3ViTConfig(**EYE, num_register_tokens=4)
    return transformers.DINOv3ViTModel(config)


def tipsv2() -> Any:
    vision = {name: EYE[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    config = transformers.Tipsv2Config(
        text_config=TEXT, vision_config=vision | {"image_size": 32, "patch_size": 8, "mlp_ratio": 2}
    )
    return transformers.Tipsv2Model(config)


# how to make one, its published preprocessing, and the tokens before the first patch (None: a feature map)
FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, Any], int | None]] = {
    "resnet": (resnet, SIZED | IMAGENET | {"size": {"shortest_edge": 32}, "crop_pct": 0.8}, None),
    "convnext": (convnext, SIZED | IMAGENET | {"size": {"shortest_edge": 32}, "crop_pct": 0.875}, None),
    "mobilenet_v2": (mobilenet, SQUARE | {"size": {"height": 64, "width": 64}}, None),
    "vit": (lambda: transformers.ViTModel(transformers.ViTConfig(**EYE)), SQUARE, 1),
    "dinov2": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(**EYE)), CENTRE, 1),
    "dinov3": (dinov3, SQUARE, 5),
    "clip": (clip, CENTRE, 1),
    "siglip": (siglip, SQUARE, 0),
    "metaclip_2": (metaclip, CENTRE, 1),
    "tipsv2": (tipsv2, SQUARE | {"do_normalize": False}, 2),
}


def publish(folder: Path, family: str) -> Path:
    """A randomly initialised model of the family, in the layout in which models are published."""
    make, preprocessing, _ = FAMILIES[family]
    torch.manual_seed(1)
    make().eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def photos(count: int = 2, width: int = 70, height: int = 50) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 5, 7, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(one).resize((width, height), 3)) for one in coarse]


def vision(folder: Path) -> Any:
    model = transformers.AutoModel.from_pretrained(folder)
    return getattr(model, "vision_model", model).eval()
