"""A folder of a published dual encoder (CLIP, SigLIP) -> its family, its towers, what scales its scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.pretrained.models import LOCAL, find_model, import_transformers, quiet, weight_files
from wordsight.pretrained.published_files import built_from, check_published
from wordsight.tensors import Tensor, torch

Side = Literal["vision", "text"]
Tables: TypeAlias = dict[str, dict[str, Any]]
REGIONS = {"whole": "whole", "patches": "both"}  # what is asked for -> what the encoders give


@dataclass(frozen=True)
class Family:
    """Published models of one layout."""

    name: str  # the model_type of their config.json
    vision: str  # classes of transformers, which hold the final projection too
    text: str
    has_bias: bool  # a learned number that is added to every score


FAMILIES = {
    "clip": Family("clip", "CLIPVisionModelWithProjection", "CLIPTextModelWithProjection", has_bias=False),
    "siglip": Family("siglip", "SiglipVisionModel", "SiglipTextModel", has_bias=True),
}
FILES = (
    "preprocessor_config.json", "processor_config.json", "tokenizer*", "vocab.json", "merges.txt",
    "spiece.model", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
SUPPORTED = "CLIP (model_type clip), SigLIP and the SigLIP 2 models of a fixed resolution (model_type siglip)"


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
                  which is a hint of where words are (encode/dual.py says what is known of it) and takes as
                  many times the space
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
    return {
        "reader": {"name": "model-pixels", "model": model, "fit": fit},
        "tokenizer": {"name": "dual", "model": model},
        "image_encoder": {"name": "dual", "model": model, "items": items},
        "text_encoder": {"name": "dual", "model": model, "items": items},
        "similarity": {"name": "dual", "scale": scale, "bias": bias},
    }


def family_of(folder: Path, name: str | None = None) -> Family:
    """Raises ValueError, with the families that can be read, for a model of any other."""
    family = model_type(folder)
    kind = (family or "").removesuffix("_model").removesuffix("_vision").removesuffix("_text")
    if kind not in FAMILIES:
        hint = (
            "; its pictures have no fixed size, take one that has: google/siglip2-base-patch16-224"
            if kind == "siglip2"
            else ""
        )
        raise InputError(
            f'{name or folder} is of the family "{family}", which is no dual encoder known here; known: '
            f"{SUPPORTED}{hint}"
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
    with built_from(folder):
        config = _side_config(transformers.AutoConfig.from_pretrained(folder, **LOCAL), side)
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
    return tower


def _side_config(config: Any, side: Side) -> Any:
    """Config of one tower; the size of the shared space comes from the config of both."""
    one = getattr(config, f"{side}_config", None)
    if one is None:
        return config
    if hasattr(config, "projection_dim"):
        one.projection_dim = config.projection_dim
    return one


def text_facts(folder: Path) -> tuple[str, int]:
    """The family's name, and how many tokens its text tower reads at most."""
    family = family_of(folder)
    check_published(folder)
    config = import_transformers().AutoConfig.from_pretrained(folder, **LOCAL)
    return family.name, int(_side_config(config, "text").max_position_embeddings)


def scale_and_bias(folder: Path) -> tuple[float, float]:
    """Scale and bias that turn a cosine into the model's own logit."""
    found = _numbers(folder, ("logit_scale", "logit_bias"))
    wanted = ("logit_scale", *(["logit_bias"] if family_of(folder).has_bias else []))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"the weights in {folder} have no {missing[0]}, so its scores are not known; fetch the file of "
            "the whole model, both towers"
        )
    bias = float(found["logit_bias"]) if "logit_bias" in found else 0.0
    return float(found["logit_scale"].exp()), bias


def unused_weights(folder: Path, towers: Mapping[Side, Any]) -> list[str]:
    """Names of published weights that are in neither tower and no factor of the score."""
    used = {_bare(name, side) for side, tower in towers.items() for name in tower.state_dict()}
    sides: dict[str, Side] = {"vision": "vision", "visual": "vision", "text": "text"}
    named = [(name, sides.get(name.split("_")[0])) for name in _names(folder)]
    factors = ("logit_scale", "logit_bias")
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
