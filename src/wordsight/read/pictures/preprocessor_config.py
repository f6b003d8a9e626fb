"""A published preprocessor_config.json -> the reader that shows pictures as the model was trained on them."""

from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files import plain_json
from wordsight.pretrained.models import find_model
from wordsight.pretrained.published_config import first_release
from wordsight.read.pictures.flexible_pixels import FlexiblePixels
from wordsight.read.pictures.pixel_reader import RESAMPLE, FrameReader, PixelReader
from wordsight.read.pictures.shaped_pixels import ShapedPixels
from wordsight.registry import instantiate
from wordsight.registry.limits import PixelSide

FILES = ("preprocessor_config.json", "processor_config.json")  # the second holds it as "image_processor"
SQUASHED_FROM = 384  # ConvNeXt's and ResNet's processors crop only below this size


def read_preprocessing(folder: Path) -> dict[str, Any]:
    """The published settings; a model without them is an error: a guess would be wrong in silence."""
    for name in FILES:
        if (folder / name).is_file():
            settings = plain_json.read(folder / name)
            inner = settings.get("image_processor", settings) if isinstance(settings, dict) else None
            if not isinstance(inner, dict):
                raise InputError(f"{folder / name} describes no preprocessing; fetch it again")
            return inner
    first = first_release(folder)
    if first is not None:  # of TIPSv2, whose model card says it: no normalization, squashed
        return {"size": {"height": first["img_size"], "width": first["img_size"]}, "do_normalize": False}
    raise MissingFileError(
        f"{folder} has no {FILES[0]}, which says the size and the normalization that the model expects; "
        "fetch it from where the model came from and put it beside config.json"
    )


def model_pixels(
    model: str,
    size: PixelSide | None = None,
    fit: str = "squash",
    revision: str | None = None,
    round_crop: bool = False,
) -> FrameReader:
    """Pixels as a published model was trained on them, for an encoder that trains it further.

    ``model``  hub name or local folder; its preprocessor_config.json says size and normalization
    ``size``   height and width in pixels, in place of the published ones
    ``fit``    "squash" shows the whole picture; "published" only its centre, if the model was trained so
    ``round_crop``  as in PixelReader

    What comes out is a PixelReader, or FlexiblePixels for SigLIP 2 NaFlex, and is saved as one: its numbers,
    not the model's name.
    """
    return pixel_reader(find_model(model, revision, FILES), fit, size, round_crop)


def pixel_reader(folder: Path, fit: str, size: int | None, round_crop: bool = False) -> FrameReader:
    """Pictures of the published size and normalization; ``size`` (pixels) replaces the published one.

    ``fit``: "squash" shows the whole picture; "published" cuts out the centre where the model was trained so.
    """
    if fit not in ("squash", "published"):
        raise InputError(f'fit = "{fit}" is unknown; known: squash, published')
    settings = read_preprocessing(folder)
    if settings.get("do_flip_channel_order"):
        raise InputError(
            f"{folder} expects blue before red (do_flip_channel_order), which cannot be read yet"
        )
    try:
        kind, shown = _flexible(settings, size) or _fixed(settings, fit, size, round_crop)
        made: FrameReader = instantiate(kind, f"{folder / FILES[0]}:", shown)
        return made
    except (LookupError, TypeError, ArithmeticError, AttributeError, StopIteration) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{folder / FILES[0]} describes no preprocessing ({problem}); fetch it again"
        ) from error


def _flexible(settings: dict[str, Any], size: int | None) -> tuple[type[FrameReader], dict[str, Any]] | None:
    """A reader that keeps the shape of pictures, and its settings, for a model that reads any shape."""
    if "merge_size" in settings:
        return _shaped(settings)
    if "max_num_patches" not in settings:
        return None
    patch = int(settings["patch_size"])
    mean, std = _normalization(settings)
    most = settings["max_num_patches"] if size is None else (size // patch) ** 2
    return FlexiblePixels, {
        "patch": patch, "most_patches": most, "mean": mean, "std": std, "resample": _resample(settings)
    }  # fmt: skip


def _shaped(settings: dict[str, Any]) -> tuple[type[FrameReader], dict[str, Any]]:
    """The reader of the Qwen2-VL family, whose number of pixels the settings say in one of two ways."""
    size, (mean, std) = settings.get("size") or {}, _normalization(settings)
    return ShapedPixels, {
        "multiple": settings["patch_size"] * settings["merge_size"],
        "least": settings.get("min_pixels") or size["shortest_edge"],
        "most": settings.get("max_pixels") or size["longest_edge"],
        "mean": mean, "std": std, "resample": _resample({"resample": 3} | settings),
    }  # fmt: skip


def _resample(settings: dict[str, Any]) -> str:
    return next(name for name, number in RESAMPLE.items() if number == settings.get("resample", 2))


def _fixed(
    settings: dict[str, Any], fit: str, size: int | None, round_crop: bool
) -> tuple[type[FrameReader], dict[str, Any]]:
    """A reader of one size, and its settings."""
    (height, width), short_side = _sizes(settings)
    if size is not None:
        short_side = short_side and short_side * size // min(height, width)
        height = width = size
    crop = fit == "published" and short_side is not None
    mean, std = _normalization(settings)
    return PixelReader, {
        "size": height if height == width else [height, width],
        "mean": mean,
        "std": std,
        "resample": _resample(settings),
        "keep_aspect": crop,
        "short_side": max(short_side, height, width) if crop and short_side else None,
        "round_crop": round_crop,
    }


def _sizes(settings: dict[str, Any]) -> tuple[tuple[int, int], int | None]:
    """Height and width that the model reads, and the shorter side of which that is the centre, if it is."""
    size = settings.get("size", 224)
    if isinstance(size, int):
        size = {"shortest_edge": size}
    elif isinstance(size, list):
        size = {"height": size[0], "width": size[1]}
    resized = (size["height"], size["width"]) if "height" in size else (size["shortest_edge"],) * 2
    if settings.get("do_center_crop", "crop_size" in settings) and settings.get("crop_size"):
        crop = settings["crop_size"]
        cropped = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
        if "height" in size and cropped == resized:  # squashed to that size, of which all is the centre
            return resized, None
        return cropped, min(resized)
    if settings.get("crop_pct") and min(resized) < SQUASHED_FROM:
        return resized, int(min(resized) / settings["crop_pct"])
    return resized, None


def _normalization(settings: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and std of values in [0, 1] that do what the rescale_ and image_ settings say."""
    scale = 255 * settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 255.0
    offset = 1.0 if settings.get("rescale_offset") else 0.0
    mean, std = [0.0] * 3, [1.0] * 3
    if settings.get("do_normalize", True):
        mean, std = settings["image_mean"], settings["image_std"]
    return [(offset + number) / scale for number in mean], [number / scale for number in std]
