"""Small detectors that read text, with random weights, in the layout in which they are published."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from support.published_backbones import IMAGENET, SIZED
from support.published_dual_encoders import CLIP_MEAN, CLIP_STD, SHARP, TOWER, publish_clip

WORDS = ["dog", "red", "fris", "##bee", "ball", "cat"]
MARKS = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
PHRASES = ["dog", "red frisbee", "cat"]
FAMILIES = ("grounding-dino", "mm-grounding-dino", "owlv2", "owlvit")


def publish_prompted(folder: Path, family: str, most_tokens: int = 24) -> Path:
    """Write config, weights, tokenizer and preprocessor."""
    torch.manual_seed(3)
    if family in ("owlv2", "owlvit"):
        _owl(folder, family)
    else:
        _grounding(folder, family, most_tokens)
    return folder


def _grounding(folder: Path, family: str, most_tokens: int) -> None:
    folder.mkdir(parents=True)
    pieces = [MARKS.get(number, f"[unused{number}]") for number in range(1040)] + WORDS
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    text = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    eye = transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 1], window_size=2, patch_size=4,
        out_indices=[2, 3], image_size=64,
    )  # fmt: skip
    mm = family.startswith("mm-")
    config = getattr(transformers, "MMGroundingDinoConfig" if mm else "GroundingDinoConfig")(
        backbone_config=eye, text_config=text, num_queries=12, d_model=32, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2,
        decoder_attention_heads=2, num_feature_levels=3, max_text_len=most_tokens,
        disable_custom_kernels=True,
    )  # fmt: skip
    kind = "MMGroundingDinoForObjectDetection" if mm else "GroundingDinoForObjectDetection"
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    size = {"size": {"shortest_edge": 48, "longest_edge": 80}, "do_pad": True}
    _preprocessor(folder, "GroundingDinoImageProcessor", SIZED | IMAGENET | size)


def _owl(folder: Path, family: str) -> None:
    publish_clip(folder, ["dog", "red", "frisbee", "cat"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, model_max_length=16)
    tokenizer.save_pretrained(folder)
    ids = len(tokenizer)
    name = {"owlv2": "Owlv2", "owlvit": "OwlViT"}[family]
    text = TOWER | SHARP | {"vocab_size": ids, "max_position_embeddings": 16}
    eye = TOWER | SHARP | {"image_size": 64, "patch_size": 16}
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config=eye, projection_dim=16)
    getattr(transformers, f"{name}ForObjectDetection")(config).eval().save_pretrained(folder)
    size = {"size": {"height": 64, "width": 64}, "image_mean": CLIP_MEAN, "image_std": CLIP_STD}
    squared = {"do_pad": True} if family == "owlv2" else {"do_center_crop": False, "resample": 3}
    _preprocessor(folder, f"{name}ImageProcessor", SIZED | size | squared)


def _preprocessor(folder: Path, name: str, settings: dict[str, Any]) -> None:
    table = {"image_processor_type": name} | settings
    (folder / "preprocessor_config.json").write_text(json.dumps(table))


def published_processor(folder: Path, family: str) -> Any:
    """transformers' own, which scales with Pillow."""
    name = {"owlv2": "Owlv2", "owlvit": "OwlViT"}.get(family, "GroundingDino")
    images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return getattr(transformers, f"{name}Processor")(image_processor=images, tokenizer=tokenizer)
