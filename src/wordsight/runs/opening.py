"""A run's folder, or a model -> its configuration, its data, its matcher."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wordsight.config import CONFIG, Config, Split, load_config
from wordsight.errors import InputError
from wordsight.files.model_folder import BEST
from wordsight.importers.clip_siglip import opened_folder
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.runtime.device import find_device


@dataclass(frozen=True, eq=False)
class Data:
    """A configuration and a split of its data."""

    config: Config
    pairs: PairSet


def open_data(
    model: str, config: str | None, changes: Sequence[str], split: Split, trust_remote_code: bool = False
) -> Data:
    """Open the data of the given configuration, or of the run's own."""
    from wordsight.builder import Builder  # of parts that train: they need torch, and an index does not

    chosen = open_config(model, config, changes, trust_remote_code)
    return Data(chosen, Builder(chosen).measured_pairs(split))


def open_config(
    model: str, config: str | None, changes: Sequence[str], trust_remote_code: bool = False
) -> Config:
    """The given configuration, or the run's own."""
    if config is not None:
        return load_config(config, changes, trust_remote_code)
    home = Path(model).parent if Path(model).name == BEST else Path(model)
    if not home.exists():
        raise InputError(
            f"there is no folder {model}; train it first, or give the folder of another run; a model of the "
            "hub needs --config, which names the data"
        )
    if not (home / CONFIG).is_file():
        raise InputError(f"{model} is not the folder of a run, so its data is not known; give --config")
    return load_config(str(home), changes, trust_remote_code)


def open_matcher(model: str, trust_remote_code: bool = False, device: str = "auto") -> Matcher:
    """A run's best model, any saved model, or a published CLIP or SigLIP, on a device."""
    where = find_device(device)  # an error comes before anything is loaded
    return Matcher.from_pretrained(matcher_folder(model), trust_remote_code=trust_remote_code).to(where)


def matcher_folder(model: str) -> Path:
    """The folder of a run's best model, of any saved model, or of one made of a published CLIP or SigLIP."""
    return opened_folder(model)
