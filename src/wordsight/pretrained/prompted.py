"""A folder of a published detector that is prompted with text -> its network, its tokenizer, its family."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.pretrained.dual_encoders import model_type
from wordsight.pretrained.models import LOCAL, import_transformers, quiet
from wordsight.pretrained.published_files import built_from, check_published


@dataclass(frozen=True)
class PromptedFamily:
    """Detectors of one layout."""

    network: str  # class of transformers
    threshold: float  # of a box, as published
    reads_one_text: bool  # all phrases in one text, not one text each
    is_square: bool = False  # its pictures are padded to a square


FAMILIES = {
    "grounding-dino": PromptedFamily("GroundingDinoForObjectDetection", 0.25, reads_one_text=True),
    "mm-grounding-dino": PromptedFamily("MMGroundingDinoForObjectDetection", 0.25, reads_one_text=True),
    "owlv2": PromptedFamily("Owlv2ForObjectDetection", 0.1, reads_one_text=False, is_square=True),
    "owlvit": PromptedFamily("OwlViTForObjectDetection", 0.1, reads_one_text=False),
}
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
SUPPORTED = "Grounding DINO, MM Grounding DINO, OWLv2, OWL-ViT"


def prompted_family(folder: Path) -> PromptedFamily | None:
    """None for a model that is no such detector."""
    return FAMILIES.get(model_type(folder) or "")


def load_prompted(folder: Path, family: PromptedFamily) -> tuple[Any, Any]:
    """The network, frozen, and its tokenizer. Raises InputError where weights or files are missing."""
    transformers = import_transformers()
    check_published(folder)
    with quiet(transformers), built_from(folder):
        network, loading = getattr(transformers, family.network).from_pretrained(
            folder, dtype="float32", output_loading_info=True, **LOCAL
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
    absent = sorted([*loading["missing_keys"], *map(str, loading["mismatched_keys"])])
    if absent:
        raise InputError(
            f"the weights in {folder} do not fit its config.json: {len(absent)} missing, {absent[0]} first",
            "fetch both files from the same place",
        )
    return network.eval().requires_grad_(False), tokenizer
