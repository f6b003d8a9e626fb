"""Small dual encoders of each family with random weights, in the layout in which they are published."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

TEXTS = ["a dog runs", "The red ball, on a café's bench!", "dogs"]
WORDS = ["a", "dog", "dogs", "runs", "the", "red", "ball", "on", "caf", "bench", "s"]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
TOWER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
EYE = TOWER | {"image_size": 32, "patch_size": 8}
SHARP = {"initializer_range": 0.3}  # far enough from zero for words to tell texts apart
PIXELS = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "resample": 3,
}


def publish(folder: Path, family: str, seed: int = 0) -> Path:
    """Write config, weights, tokenizer and preprocessor; ``family`` is one of FAMILIES."""
    torch.manual_seed(seed)
    FAMILIES[family](folder)
    return folder


def photos(count: int = 2) -> list[Image.Image]:
    """Smooth, of several shapes."""
    draws = np.random.default_rng(0)
    small = [draws.integers(0, 256, (4, 5 + n, 3), dtype=np.uint8) for n in range(count)]
    return [Image.fromarray(one).resize((60 + 10 * n, 48), 2) for n, one in enumerate(small)]


def reference(folder: Path, pictures: list[Image.Image], texts: list[str]) -> Any:
    """What transformers' own model says, its own preprocessing and padding included."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    kind = model.config.model_type
    processor = getattr(transformers, PROCESSORS.get(kind, "AutoImageProcessor"))
    options = {} if kind in PROCESSORS else {"backend": "pil"}
    pixels = processor.from_pretrained(folder, **options)(pictures, return_tensors="pt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    fixed = {"max_length": 16} if kind.startswith(("siglip", "tips")) else {}
    tokens = tokenizer(
        [text if kind == "metaclip_2" else text.lower() for text in texts],
        padding="max_length" if fixed else True, truncation=True, return_tensors="pt", **fixed,
    )  # fmt: skip
    mask = {} if kind.startswith("siglip") else {"attention_mask": tokens["attention_mask"]}
    with torch.no_grad():
        return model(input_ids=tokens["input_ids"], **pixels, **mask)


def publish_clip(folder: Path, words: Sequence[str] = WORDS) -> None:
    """A CLIP that knows these words whole, and others by their letters."""
    letters = _letters_of_bytes()
    vocab = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in words:
        merges += _merges(word, "</w>")
    vocab += ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    ids = {piece: id for id, piece in enumerate(dict.fromkeys(vocab))}
    merges = list(dict.fromkeys(merges))
    tokenizer = transformers.CLIPTokenizer(vocab=ids, merges=merges, model_max_length=24)
    tokenizer.save_pretrained(folder)
    text = TOWER | SHARP | {
        "vocab_size": len(ids), "max_position_embeddings": 24, "bos_token_id": len(ids) - 2,
        "eos_token_id": len(ids) - 1,
    }  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=EYE | SHARP, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(folder)
    centre = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    _preprocessor(folder, "CLIPImageProcessor", centre | {"image_mean": CLIP_MEAN, "image_std": CLIP_STD})


def _siglip(folder: Path) -> None:
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)] * 20), model_writer=model, vocab_size=40, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    tokenizer = transformers.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=16)
    tokenizer.save_pretrained(folder)
    _siglip_model(folder, len(tokenizer))


def _siglip2(folder: Path) -> None:
    """The published models of a fixed resolution are of SigLIP's type, with Gemma's tokenizer."""
    _siglip_model(folder, gemma_tokenizer(folder))


def _naflex(folder: Path) -> None:
    """Rows of patches in place of pictures, in the shape of each picture."""
    size = gemma_tokenizer(folder)
    text = TOWER | {"vocab_size": size, "max_position_embeddings": 16, "projection_size": 16}
    config = transformers.Siglip2Config(
        text_config=text, vision_config=TOWER | {"num_patches": 16, "patch_size": 8}
    )
    model = transformers.Siglip2Model(config)
    _scored(model).save_pretrained(folder)
    flexible = {"patch_size": 8, "max_num_patches": 20, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    _preprocessor(folder, "Siglip2ImageProcessor", flexible | {"resample": 2})


def _metaclip(folder: Path) -> None:
    """CLIP's towers and the tokenizer of XLM-V, which has a start mark and keeps capitals."""
    marks = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = transformers.XLMRobertaTokenizer(
        vocab=[*marks, *_unigrams(), ("<mask>", 0.0)], model_max_length=24
    )
    _metaclip_model(folder, tokenizer)


def _metaclip_mt5(folder: Path) -> None:
    """The tokenizer of mT5, which has no start mark."""
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    _metaclip_model(folder, transformers.T5Tokenizer(vocab=[*marks, *_unigrams()], extra_ids=0))


def _unigrams() -> list[tuple[str, float]]:
    letters = [*map(chr, range(33, 127)), "é", "犬"]
    return [*((f"\u2581{word}", -2.0) for word in WORDS), ("\u2581", -3.0), *((one, -8.0) for one in letters)]


def _metaclip_model(folder: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(folder)
    text = TOWER | SHARP | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 24, "bos_token_id": 0,
        "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    config = transformers.MetaClip2Config(text_config=text, vision_config=EYE | SHARP, projection_dim=12)
    transformers.MetaClip2Model(config).save_pretrained(folder)
    side = {"height": 32, "width": 32}
    settings = {"size": side, "do_center_crop": True, "crop_size": side}
    _preprocessor(folder, "CLIPImageProcessor", settings | {"image_mean": CLIP_MEAN, "image_std": CLIP_STD})


def _tipsv2(folder: Path) -> None:
    """Weights under the names that its authors gave them, without a temperature, which the config has."""
    from safetensors.torch import load_file, save_file

    size = _tips_tokenizer(folder)
    text = TOWER | SHARP | {"vocab_size": size, "max_position_embeddings": 16}
    vision = {name: TOWER[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    config = transformers.Tipsv2Config(
        text_config=text, vision_config=vision | SHARP | {"image_size": 32, "patch_size": 8, "mlp_ratio": 2},
        temperature_init_value=0.02,
    )  # fmt: skip
    transformers.Tipsv2Model(config).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    assert "vision_encoder.blocks.0.attn.qkv.weight" in weights
    del weights["temperature"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    square = {"size": {"height": 32, "width": 32}, "do_normalize": False, "resample": 2}
    _preprocessor(folder, "Tipsv2ImageProcessor", square)


def _tips_tokenizer(folder: Path) -> int:
    """Sentencepiece's byte pairs of small letters, without marks."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join([*WORDS, *"',!"])] * 20), model_writer=model, vocab_size=310,
        pad_id=0, unk_id=1, eos_id=-1, bos_id=-1, minloglevel=2, hard_vocab_limit=False, model_type="bpe",
        byte_fallback=True,
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": "tipsv2"}))
    return len(transformers.AutoTokenizer.from_pretrained(folder))


def gemma_tokenizer(folder: Path) -> int:
    letters = [*map(chr, range(33, 127)), "\u2581"]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        merges += [*_merges(word), *([] if len(word) == 1 else [("\u2581", word)])]
    vocab = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<mask>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *letters,
    ]
    ids = {piece: id for id, piece in enumerate(dict.fromkeys([*vocab, *map("".join, merges)]))}
    merges = list(dict.fromkeys(merges))
    tokenizer = transformers.GemmaTokenizer(
        vocab=ids, merges=merges, model_max_length=16, add_bos_token=False, add_eos_token=True,
        padding_side="right",
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return len(ids)


def _siglip_model(folder: Path, size: int) -> None:
    text = TOWER | {"vocab_size": size, "max_position_embeddings": 16, "projection_size": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=EYE)
    _scored(transformers.SiglipModel(config)).save_pretrained(folder)
    square = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    _preprocessor(folder, "SiglipImageProcessor", square)


def _scored(model: Any) -> Any:
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-7.5)
    return model


def _preprocessor(folder: Path, name: str, settings: dict[str, Any]) -> None:
    told = PIXELS | settings | {"image_processor_type": name}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))


def _merges(word: str, end: str = "") -> list[tuple[str, str]]:
    """Which joins spell the word, from its left."""
    letters = [*word[:-1], word[-1] + end]
    return [("".join(letters[:n]), letters[n]) for n in range(1, len(letters))]


def _letters_of_bytes() -> list[str]:
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in prints] + [chr(256 + n) for n in range(256 - len(prints))]


FAMILIES: dict[str, Callable[[Path], None]] = {
    "clip": publish_clip, "metaclip_2": _metaclip, "metaclip_2-mt5": _metaclip_mt5, "siglip": _siglip,
    "siglip2": _siglip2, "naflex": _naflex, "tipsv2": _tipsv2,
}  # fmt: skip
PROCESSORS = {  # where AutoImageProcessor needs torchvision
    "siglip2": "Siglip2ImageProcessorPil", "tipsv2": "SiglipImageProcessorPil",
}  # fmt: skip
