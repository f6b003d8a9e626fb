"""A TOML file -> data, matcher, loss, settings of a run; an unknown key is an error that lists the known."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from wordsight import aliases, registry
from wordsight.errors import InputError, MissingFileError
from wordsight.evaluation.protocols import find_protocol
from wordsight.files.atomic import atomic_file
from wordsight.files.toml import read_tables, to_toml
from wordsight.files.undecodable import shown
from wordsight.learn.settings import Training
from wordsight.matcher import PARTS
from wordsight.registry.limits import Count, Whole
from wordsight.registry.settings import check_fields
from wordsight.registry.trust import addresses_in, trusting
from wordsight.similarity.ranking.count import Ties
from wordsight.similarity.ranking.exact import Precision

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TABLES = ("data", "vocabulary", "labels", *PARTS, "loss", "training", "evaluation")
CONFIG = "config.toml"
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class DataSplits:
    """Names of the splits in the data, and files apart from it: region features, known boxes.

    ``{split}`` in the path of the boxes is replaced by the split.
    """

    train: str = "train"
    validation: str = "val"
    test: str = "test"
    features: str | None = None  # a folder made by `wordsight features extract`
    objects: str | None = None  # known boxes, for pointing accuracy: Flickr30k Entities' folder, or JSONL


@dataclass(frozen=True)
class LearnedVocabulary:
    """The [vocabulary] table: how words are learned when the tokenizer is given none."""

    min_count: Whole = 4  # rarer words become <unk>
    validation: bool = False  # count the validation texts too, as the published vocabularies do


@dataclass(frozen=True)
class SemanticLabels:
    """The [labels] table: with it, the training images have CASC's semantic labels."""

    count: Count = 500  # of the most frequent nouns
    validation: bool = False  # count the nouns of the validation texts too, as the published labels do
    file: str | None = None  # CASC's *_vocab_tag.json, instead of labels learned from the texts
    word_splitter: str = "treebank"  # how texts are split into words, see the tokenizer "words"
    concatenate_without_space: bool = False  # lose words where texts meet, as the published code does
    largest_weight: float = 1000.0  # of a label that few images have, in the loss "consistency"


@dataclass(frozen=True)
class Evaluation:
    """The [evaluation] table: how the model is measured."""

    protocol: str = "all"
    batch_size: Count = 64
    precision: Precision = "auto"
    ties: Ties = "pessimistic"

    def __post_init__(self) -> None:
        find_protocol(self.protocol)
        check_fields(self, "[evaluation]")


@dataclass(frozen=True)
class Config:
    """The tables of a run, with the reasons for what is wrong in them."""

    tables: Mapping[str, Any]  # each a mapping of settings, which is checked
    source: str = ""
    trust_remote_code: bool = False  # import the parts from outside wordsight that the tables name

    def __post_init__(self) -> None:
        for name, table in self.tables.items():
            if name not in TABLES:
                near = registry.nearest(name, TABLES)
                raise InputError(
                    f"{self.source}: no table is called [{name}]{near}; known: {', '.join(TABLES)}"
                )
            if not isinstance(table, Mapping):
                raise InputError(f"{self.source}: {name} = {table!r} stands outside of every table")

    @classmethod
    def load(cls, path: str | Path, changes: Sequence[str] = (), trust_remote_code: bool = False) -> "Config":
        """Read a TOML file; each change is "table.key=value", the value as TOML writes it (or plain text)."""
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(
                f"there is no configuration {path}",
                "to start from a shipped one, by its name: wordsight config show own-pairs > mine.toml",
            )
        tables = read_tables(path, changes)
        for renamed in aliases.renamed_in(tables):
            warnings.warn(f"{path}: {renamed}; the old name will stop working", FutureWarning, stacklevel=2)
        return cls(aliases.current(tables), str(path), trust_remote_code)

    def save(self, path: Path) -> None:
        try:
            content = self.to_toml().encode()
        except UnicodeEncodeError as error:
            wrong = shown(error.object[max(0, error.start - 40) : error.end + 20].split("\n")[-1])
            raise InputError(
                f"{path} cannot name {wrong}: TOML holds UTF-8 only, and this name is not",
                "rename the file or folder, or make a link to it",
            ) from error
        with atomic_file(path) as file:
            file.write(content)

    def to_toml(self) -> str:
        return to_toml(self.tables)

    def complete(self) -> "Config":
        """Write out every default of the run."""
        always = SETTINGS.keys() - {"labels"}
        tables = {
            name: self._complete_table(name) for name in TABLES if name in self.tables or name in always
        }
        return replace(self, tables=tables)

    def _complete_table(self, name: str) -> dict[str, Any]:
        table = self.tables.get(name, {})
        if name in SETTINGS:
            return {field.name: getattr(self.settings(name), field.name) for field in fields(SETTINGS[name])}
        if name == "data":
            split = {field.name: getattr(self.splits, field.name) for field in fields(DataSplits)}
            return self.trusted(registry.complete, name, self.data_table()) | split
        if name == "text_encoder":  # as when it is built: as wide as the image encoder
            whole = self.trusted(registry.complete, "image_encoder", self.table("image_encoder"))
            table = {key: whole[key] for key in ("dim",) if key in whole} | dict(table)
        return self.trusted(registry.complete, name, table)

    def trusted(self, make: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
        """Call ``make``, which may import what the tables name if ``trust_remote_code`` allows it."""
        with trusting(addresses_in(self.tables) if self.trust_remote_code else (), self.source):
            return make(*args, **given)

    def settings(self, name: str) -> Any:
        """A table that describes no part, such as [labels], as its dataclass."""
        return registry.instantiate(SETTINGS[name], f"{self.source}: [{name}]", self.tables.get(name, {}))

    @property
    def training(self) -> Training:
        settings: Training = self.settings("training")
        return settings

    @property
    def evaluation(self) -> Evaluation:
        settings: Evaluation = self.settings("evaluation")
        return settings

    @property
    def splits(self) -> DataSplits:
        own = {field.name for field in fields(DataSplits)}
        return DataSplits(**{key: value for key, value in self.table("data").items() if key in own})

    def table(self, name: str) -> Mapping[str, Any]:
        """A table that the configuration must have."""
        if name not in self.tables:
            raise InputError(f"{self.source}: [{name}] is missing")
        table: Mapping[str, Any] = self.tables[name]
        return table

    def data_table(self) -> dict[str, Any]:
        """The settings of the data-set reader: [data] without splits, features and known boxes."""
        own = {field.name for field in fields(DataSplits)}
        return {key: value for key, value in self.table("data").items() if key not in own}


def load_config(name: str, changes: Sequence[str] = (), trust_remote_code: bool = False) -> Config:
    """A configuration by path, by the name of a published one, or that of a run's folder."""
    path = Path(name)
    if (path / CONFIG).is_file():
        return Config.load(path / CONFIG, changes, trust_remote_code)
    shipped = configs_folder() / f"{name}.toml"
    chosen = shipped if not path.is_file() and shipped.is_file() else path
    return Config.load(chosen, changes, trust_remote_code)


def configs_folder() -> Path:
    """Where the published configurations are: inside the installed package, or beside the sources."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "configs"


SETTINGS: dict[str, Any] = {
    "vocabulary": LearnedVocabulary,
    "labels": SemanticLabels,
    "training": Training,
    "evaluation": Evaluation,
}
