"""Randomly initialised detectors, in the layout in which detectors are published."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from support.published_backbones import SQUARE

BLOCKS = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
HEADS = {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
SMALL = BLOCKS | HEADS | {"num_queries": 12, "num_labels": 4}


def rt_detr() -> Any:
    config = transformers.RTDetrConfig(
        **SMALL,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        decoder_in_channels=[16, 16, 16],
        num_feature_levels=3,
        backbone_config=transformers.RTDetrResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 8, 16, 16],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        num_denoising=0,
    )
    return transformers.RTDetrForObjectDetection(config)


def detr() -> Any:
    eye = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"]
    )
    config = transformers.DetrConfig(**SMALL, backbone_config=eye, use_timm_backbone=False, backbone=None)
    return transformers.DetrForObjectDetection(config)


def yolos() -> Any:
    eye = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.YolosConfig(
        **eye, image_size=[64, 64], patch_size=16, num_detection_tokens=12, num_labels=4
    )
    return transformers.YolosForObjectDetection(config)


DETECTORS = {"rt-detr": rt_detr, "detr": detr, "yolos": yolos}


def publish_detector(folder: Path, family: str) -> Path:
    """A randomly initialised detector in the layout in which detectors are published."""
    torch.manual_seed(3)
    DETECTORS[family]().eval().save_pretrained(folder)
    preprocessing = SQUARE | {"size": {"height": 64, "width": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder
