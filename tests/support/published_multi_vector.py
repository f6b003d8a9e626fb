"""Small ColPali and ColQwen2 models with random weights, in the layout in which they are published."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from support.published_dual_encoders import CLIP_MEAN, CLIP_STD, SHARP, TOWER, gemma_tokenizer
from tokenizers import AddedToken

SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
]
LANGUAGE = TOWER | SHARP | {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 256}
SIZED = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "resample": 3,
}


def publish_multi_vector(folder: Path, family: str) -> Path:
    """Write config, weights, tokenizer and preprocessor; ``family`` colpali or colqwen2."""
    torch.manual_seed(5)
    {"colpali": _colpali, "colqwen2": _colqwen2}[family](folder)
    return folder


def _colpali(folder: Path) -> None:
    gemma_tokenizer(folder)
    tokenizer = transformers.GemmaTokenizer.from_pretrained(
        folder, add_eos_token=False, model_max_length=8192
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<image>", normalized=False)]})
    tokenizer.save_pretrained(folder)
    image = tokenizer.convert_tokens_to_ids("<image>")
    eye = {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, "num_image_tokens": 16}
    language = {"model_type": "gemma", "vocab_size": len(tokenizer), "pad_token_id": 0} | LANGUAGE
    vlm = transformers.PaliGemmaConfig(
        vision_config=eye | TOWER | SHARP, text_config=language, image_token_id=image, projection_dim=16
    )
    config = transformers.ColPaliConfig(vlm_config=vlm, embedding_dim=12)
    transformers.ColPaliForRetrieval(config).eval().save_pretrained(folder)
    size = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    _preprocessor(folder, "SiglipImageProcessor", size | {"image_seq_length": 16})


def _colqwen2(folder: Path) -> None:
    letters = _letters()
    tokenizer = transformers.Qwen2Tokenizer(
        vocab={letter: n for n, letter in enumerate(letters)}, merges=[], pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIALS})
    tokenizer.save_pretrained(folder)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIALS}
    language = LANGUAGE | {
        "vocab_size": len(tokenizer),
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
    }
    eye = {"depth": 2, "embed_dim": 16, "num_heads": 2, "hidden_size": 16, "patch_size": 4, "mlp_ratio": 2}
    vlm = transformers.Qwen2VLConfig(
        text_config=language, vision_config=eye, image_token_id=ids["<|image_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    config = transformers.ColQwen2Config(vlm_config=vlm, embedding_dim=12)
    transformers.ColQwen2ForRetrieval(config).eval().save_pretrained(folder)
    size = {"size": {"shortest_edge": 16 * 16, "longest_edge": 32 * 32}, "patch_size": 4, "merge_size": 2}
    size |= {"temporal_patch_size": 2, "image_mean": CLIP_MEAN, "image_std": CLIP_STD}
    _preprocessor(folder, "Qwen2VLImageProcessor", size)


def _letters() -> list[str]:
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, prints), *(chr(256 + n) for n in range(256 - len(prints)))]


def _preprocessor(folder: Path, name: str, settings: dict[str, Any]) -> None:
    table = {"image_processor_type": name} | SIZED | settings
    (folder / "preprocessor_config.json").write_text(json.dumps(table))


def published_scores(folder: Path, family: str, pictures: list[Any], texts: list[str]) -> Any:
    """What transformers' own processor and network score, [text, picture], each item alone."""
    name = {"colpali": "ColPali", "colqwen2": "ColQwen2"}[family]
    images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = getattr(transformers, f"{name}Processor")(image_processor=images, tokenizer=tokenizer)
    network = getattr(transformers, f"{name}ForRetrieval").from_pretrained(folder).eval()

    def embedded(given: Any) -> Any:
        wanted = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "token_type_ids")
        with torch.no_grad():
            return network(**{key: given[key] for key in wanted if key in given}).embeddings[0]

    seen = [embedded(processor.process_images(images=[picture])) for picture in pictures]
    read = [embedded(processor.process_queries(text=[text])) for text in texts]
    return processor.score_retrieval(read, seen)
