"""A folder of a published dual encoder -> its family, its towers, and the factors of its scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.pretrained.models import LOCAL, find_model, import_transformers, quiet, weight_files
from wordsight.pretrained.published_config import published_config
from wordsight.pretrained.published_files import built_from, check_published
from wordsight.tensors import Tensor, torch

Side = Literal["vision", "text"]
Tables: TypeAlias = dict[str, dict[str, Any]]
REGIONS = {"whole": "whole", "patches": "both"}  # what is asked for -> what the encoders give


@dataclass(frozen=True)
class Family:
    """Published models of one layout."""

    name: str  # the model_type of their config.json
    title: str
    vision: str  # classes of transformers, which hold the final projection too
    text: str
    factors: tuple[str, ...] = ("logit_scale",)  # weights of one number that make a cosine a score
    lower: bool = True  # it was trained on small letters
    marks: bool = True  # its texts begin or end with one
    aligned: bool = False  # it was trained so that a patch is near to the texts of what it shows
    renamed: bool = False  # transformers reads its weights under other names than the file has


_SIGLIP = ("logit_scale", "logit_bias")
FAMILIES = {
    family.name: family
    for family in (
        Family("clip", "CLIP", "CLIPVisionModelWithProjection", "CLIPTextModelWithProjection"),
        Family(
            "metaclip_2", "Meta CLIP 2", "MetaClip2VisionModelWithProjection",
            "MetaClip2TextModelWithProjection", lower=False,
        ),
        Family(
            "siglip", "SigLIP and SigLIP 2 of a fixed size", "SiglipVisionModel", "SiglipTextModel", _SIGLIP
        ),
        Family("siglip2", "SigLIP 2 NaFlex", "Siglip2VisionModel", "Siglip2TextModel", _SIGLIP),
        Family(
            "tipsv2", "TIPSv2", "Tipsv2VisionModel", "Tipsv2TextModel", ("temperature",), marks=False,
            aligned=True, renamed=True,
        ),
    )
}  # fmt: skip
FILES = (
    "preprocessor_config.json", "processor_config.json", "tokenizer*", "vocab.json", "merges.txt",
    "spiece.model", "sentencepiece.bpe.model", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
SUPPORTED = ", ".join(f"{family.title} (model_type {family.name})" for family in FAMILIES.values())


def find_dual(name: str, revision: str | None = None) -> Path:
    """The folder of a published dual encoder, fetched from the hub if need be.

    Raises MissingModel: what to fetch and where to put it; ValueError for another family, before its weights
    are fetched.
    """
    if not Path(name).expanduser().is_dir():
        config = hub_config(name, revision)
        if config is not None:
            family_of(config.parent, name)
    folder = find_model(name, revision, FILES)
    family_of(folder)
    return folder


def hub_config(name: str, revision: str | None = None) -> Path | None:
    """The config.json of a hub's model; None if there is none of that name, or no network."""
    from huggingface_hub import hf_hub_download

    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        return None
    try:
        return Path(hf_hub_download(name, "config.json", revision=revision))
    except Exception:  # who needs the model's weights will say what is missing
        return None


def dual_tables(
    name: str, regions: str = "whole", fit: str | None = None, revision: str | None = None
) -> Tables:
    """The five tables of a matcher that scores as the published model does.

    ``regions``   "whole": a vector per picture and per text; "patches": also one per patch and per word,
                  which takes as many times the space. Of TIPSv2 their places are evidence, of the others a
                  hint (encode/dual.py says what is known of them)
    ``fit``       "published" shows the part of a picture that the model was trained on, of CLIP the centre;
                  "squash" all of it. None: as published for "whole", all of it for "patches", whose boxes are
                  then fractions of the picture
    """
    if regions not in REGIONS:
        raise InputError(f'regions = "{regions}" is unknown; known: {", ".join(REGIONS)}')
    folder = find_dual(name, revision)
    model, items = str(folder), REGIONS[regions]
    scale, bias = scale_and_bias(folder)
    fit = fit or ("published" if regions == "whole" else "squash")
    aligned = regions == "patches" and family_of(folder).aligned
    alone: dict[str, Any] = {"words": "alone"} if aligned else {}
    return {
        "reader": {"name": "model-pixels", "model": model, "fit": fit},
        "tokenizer": {"name": "dual", "model": model},
        "image_encoder": {"name": "dual", "model": model, "items": items},
        "text_encoder": {"name": "dual", "model": model, "items": items, **alone},
        "similarity": {"name": "dual", "scale": scale, "bias": bias, "aligned": aligned},
    }


def family_of(folder: Path, name: str | None = None) -> Family:
    """Raises ValueError, with the families that can be read, for a model of any other."""
    family = model_type(folder)
    kind = (family or "").removesuffix("_model").removesuffix("_vision").removesuffix("_text")
    if kind not in FAMILIES:
        raise InputError(
            f'{name or folder} is of the family "{family}", which is no dual encoder known here; known: '
            f"{SUPPORTED}"
        )
    return FAMILIES[kind]


def model_type(folder: Path) -> str | None:
    """Family name in the config.json of a published model; None for any other folder."""
    if not (folder / "config.json").is_file():
        return None
    facts = plain_json.read(folder / "config.json")
    kind = facts.get("model_type") if isinstance(facts, Mapping) and "parts" not in facts else None
    return kind if isinstance(kind, str) else None


def load_tower(folder: Path, side: Side, pretrained: bool) -> Any:
    """One side of a dual encoder, its projection included, in float32.

    ``pretrained`` False: random weights, for which a config.json is enough, also that of the one side alone.
    Raises ValueError if the weights do not fill the tower, which transformers would make up at random.
    """
    transformers = import_transformers()
    check_published(folder)
    kind = getattr(transformers, getattr(family_of(folder), side))
    with quiet(transformers), built_from(folder):
        config = _side_config(_config_of(folder), side)
        if not pretrained:
            return kind(config).float()
    with quiet(transformers), built_from(folder):
        tower, loading = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, **LOCAL
        )
    absent = sorted([*loading["missing_keys"], *(str(key) for key in loading["mismatched_keys"])])
    if absent:
        raise InputError(
            f"the weights in {folder} do not fit its config.json: {len(absent)} missing, {absent[0]} first; "
            "fetch both files from the same place"
        )
    tower.unread_weights = tuple(loading["unexpected_keys"])
    return tower


def _config_of(folder: Path) -> Any:
    """Config of both towers; transformers' remarks on the defaults of NaFlex are of no use to a reader."""
    transformers = import_transformers()
    with quiet(transformers):
        return published_config(transformers, folder, **LOCAL)


def _side_config(config: Any, side: Side) -> Any:
    """Config of one tower; the size of the shared space comes from the config of both."""
    one = getattr(config, f"{side}_config", None)
    if one is None:
        return config
    if hasattr(config, "projection_dim"):
        one.projection_dim = config.projection_dim
    return one


def text_facts(folder: Path) -> tuple[str, int]:
    """The family's name, and how many tokens a text has at most, with the one that stands for all of it."""
    family = family_of(folder)
    check_published(folder)
    config = _config_of(folder)
    positions = int(_side_config(config, "text").max_position_embeddings)
    return family.name, positions + (not family.marks)


def scale_and_bias(folder: Path) -> tuple[float, float]:
    """Scale and bias that turn a cosine into the model's own logit."""
    factors = family_of(folder).factors
    found = {name: float(number) for name, number in _numbers(folder, factors).items()}
    if factors == ("temperature",):
        return 1 / found.get("temperature", _temperature(folder)), 0.0
    missing = [name for name in factors if name not in found]
    if missing:
        raise InputError(
            f"the weights in {folder} have no {missing[0]}, so its scores are not known; fetch the file of "
            "the whole model, both towers"
        )
    return math.exp(found["logit_scale"]), found.get("logit_bias", 0.0)


def _temperature(folder: Path) -> float:
    """TIPSv2's, which is published in its config.json."""
    return float(_config_of(folder).temperature_init_value)


def unused_weights(folder: Path, towers: Mapping[Side, Any]) -> list[str]:
    """Names of published weights that are in neither tower and no factor of the score."""
    family = family_of(folder)
    factors = family.factors
    if family.renamed:
        unread = {name for tower in towers.values() for name in tower.unread_weights}
        return sorted(unread - {*factors})
    used = {_bare(name, side) for side, tower in towers.items() for name in tower.state_dict()}
    sides: dict[str, Side] = {"vision": "vision", "visual": "vision", "text": "text"}
    named = [(name, sides.get(name.split("_")[0])) for name in _names(folder)]
    return [name for name, side in named if name not in factors and (side and _bare(name, side)) not in used]


def _bare(name: str, side: Side) -> str:
    """Without the part that transformers' classes of one tower have in front, or have not."""
    return f"{side}: {name.removeprefix(f'{side}_model.')}"


def _names(folder: Path) -> list[str]:
    return sorted(name for path in weight_files(folder) for name in _read(path))


def _numbers(folder: Path, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Weights of one number each, of those names."""
    found = {name: tensor for path in weight_files(folder) for name, tensor in _read(path, names).items()}
    return {name: tensor.float().reshape(()) for name, tensor in found.items() if tensor is not None}


def _read(path: Path, names: tuple[str, ...] = ()) -> dict[str, Tensor | None]:
    """The names of a file's weights, and the tensors of those asked for."""
    if path.suffix == ".json":
        return {}
    if path.suffix == ".bin":
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return {name: tensor if name in names else None for name, tensor in state.items()}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) if name in names else None for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}); fetch it again") from error
