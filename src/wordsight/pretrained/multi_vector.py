"""A folder of a published ColPali or ColQwen2 -> its network, its prompts, the tables of a matcher.

Their pictures and texts pass through one language model, which has a vector for every token. A score is the
sum, over the tokens of the text, of the largest product with a token of the picture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.files.atomic import link_or_copy
from wordsight.pretrained.dual_encoders import FILES, hub_config, model_type
from wordsight.pretrained.models import LOCAL, find_model, import_transformers, quiet
from wordsight.pretrained.published_files import built_from, check_published
from wordsight.tensors import torch

AUGMENTATION = 10  # padding tokens behind every text, which the models were trained with


@dataclass(frozen=True)
class MultiVectorFamily:
    """Models of one layout, and the prompts of their processors."""

    network: str  # class of transformers
    picture_prompt: str
    text_prompt: str
    keeps_shape: bool  # pictures have as many tokens as their shape needs


FAMILIES = {
    "colpali": MultiVectorFamily(
        "ColPaliForRetrieval", "Describe the image.", "Question: ", keeps_shape=False
    ),
    "colqwen2": MultiVectorFamily(
        "ColQwen2ForRetrieval",
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image."
        "<|im_end|><|endoftext|>",
        "Query: ",
        keeps_shape=True,
    ),
}
FOLDER = "published"  # inside a saved model: the files of the tokenizer and of both encoders
PRECISIONS = {"float32": "float32", "bfloat16": "bfloat16"}
_open: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()  # both sides share one network


def is_multi_vector(config: Path) -> bool:
    return model_type(config.parent) in FAMILIES


def find_multi_vector(name: str, revision: str | None = None) -> Path | None:
    """The folder of such a model, fetched from the hub if need be; None for any other model."""
    home = Path(name).expanduser()
    config = home / "config.json" if home.is_dir() else hub_config(name, revision)
    if config is None or not is_multi_vector(config):
        return None
    return find_model(name, revision, (*FILES, "chat_template*"))


def family_of(folder: Path) -> MultiVectorFamily:
    kind = model_type(folder)
    if kind not in FAMILIES:
        raise InputError(f'{folder} is of the family "{kind}"; known here: {", ".join(FAMILIES)}')
    return FAMILIES[kind]


def prompts_of(folder: Path) -> tuple[str, str]:
    """Prompts of pictures and of texts, as published."""
    family, path = family_of(folder), folder / "processor_config.json"
    saved = plain_json.read(path) if path.is_file() else {}
    picture = saved.get("visual_prompt_prefix") or family.picture_prompt
    return picture, saved.get("query_prefix") or family.text_prompt


def load_network(folder: Path, precision: str) -> Any:
    """The network of a folder, frozen and shared. Raises InputError where weights are missing."""
    if precision not in PRECISIONS:
        raise InputError(f'precision = "{precision}" is unknown; known: {", ".join(PRECISIONS)}')
    key = str(folder.resolve()), precision
    if (there := _open.get(key)) is not None:
        return there
    transformers = import_transformers()
    check_published(folder)
    kind = getattr(transformers, family_of(folder).network)
    with quiet(transformers), built_from(folder):
        network, loading = kind.from_pretrained(folder, dtype=precision, output_loading_info=True, **LOCAL)
    absent = sorted([*loading["missing_keys"], *map(str, loading["mismatched_keys"])])
    if absent:
        raise InputError(
            f"the weights in {folder} do not fit its config.json: {len(absent)} missing, {absent[0]} first",
            "fetch both files from the same place",
        )
    _open[key] = network.eval().requires_grad_(False)
    return network


def load_tokenizer(folder: Path) -> Any:
    transformers = import_transformers()
    check_published(folder)
    with quiet(transformers), built_from(folder):
        return transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)


def multi_vector_tables(folder: Path, precision: str = "float32") -> dict[str, dict[str, Any]]:
    """The five tables of a matcher that scores as the published model does."""
    model = str(folder)
    encoder = {"name": "multi-vector", "model": model, "precision": precision}
    return {
        "reader": {"name": "model-pixels", "model": model},
        "tokenizer": {"name": "multi-vector", "model": model},
        "image_encoder": encoder,
        "text_encoder": encoder,
        "similarity": {"name": "max-sim", "direction": "word", "pooling": "sum"},
    }


def on(network: Any) -> torch.device:
    device: torch.device = next(network.parameters()).device
    return device


def save_published(source: Path, folder: Path) -> None:
    """The files of a published model, in a folder of a saved one; linked where the disk allows it."""
    home = folder / FOLDER
    home.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith(".") and not (home / path.name).exists():
            link_or_copy(path.resolve(), home / path.name)
