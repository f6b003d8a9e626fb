"""A TOML file -> data, matcher, loss, settings of a run; an unknown key is an error that lists the known."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import torch

from wordsight import aliases, registry
from wordsight.encode.projection import out_dim
from wordsight.errors import InputError, MissingFileError
from wordsight.evaluation.protocols import find_protocol
from wordsight.files.atomic import atomic_file
from wordsight.files.toml import read_tables, to_toml
from wordsight.files.undecodable import shown
from wordsight.learn.loss import Loss
from wordsight.learn.settings import Training
from wordsight.matcher import PARTS, Matcher
from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.dataset import Dataset
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

    min_count: int = 4  # rarer words become <unk>
    validation: bool = False  # count the validation texts too, as the published vocabularies do


@dataclass(frozen=True)
class SemanticLabels:
    """The [labels] table: with it, the training images have CASC's semantic labels."""

    count: int = 500  # of the most frequent nouns
    validation: bool = False  # count the nouns of the validation texts too, as the published labels do
    file: str | None = None  # CASC's *_vocab_tag.json, instead of labels learned from the texts
    word_splitter: str = "treebank"  # how texts are split into words, see the tokenizer "words"
    concatenate_without_space: bool = False  # lose words where texts meet, as the published code does
    largest_weight: float = 1000.0  # of a label that few images have, in the loss "consistency"


@dataclass(frozen=True)
class Evaluation:
    """The [evaluation] table: how the model is measured."""

    protocol: str = "all"
    batch_size: int = 64
    precision: Precision = "auto"
    ties: Ties = "pessimistic"

    def __post_init__(self) -> None:
        find_protocol(self.protocol)
        if self.batch_size < 1:
            raise InputError(f"[evaluation] batch_size = {self.batch_size}; expected at least 1")


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
            raise MissingFileError(f"there is no configuration {path}; ready ones are in configs/")
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
        always = _PLAIN.keys() - {"labels"}
        tables = {
            name: self._complete_table(name) for name in TABLES if name in self.tables or name in always
        }
        return replace(self, tables=tables)

    def _complete_table(self, name: str) -> dict[str, Any]:
        table = self.tables.get(name, {})
        if name in _PLAIN:
            return {field.name: getattr(self._plain(name), field.name) for field in fields(_PLAIN[name])}
        if name == "data":
            split = {field.name: getattr(self.splits, field.name) for field in fields(DataSplits)}
            return self._make(registry.complete, name, self._data_table()) | split
        if name == "text_encoder":  # as when it is built: as wide as the image encoder
            whole = self._make(registry.complete, "image_encoder", self._table("image_encoder"))
            table = {key: whole[key] for key in ("dim",) if key in whole} | dict(table)
        return self._make(registry.complete, name, table)

    def _make(self, make: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
        """Call ``make``, which may import what the tables name, if that is allowed at all."""
        with trusting(addresses_in(self.tables) if self.trust_remote_code else (), self.source):
            return make(*args, **given)

    def _plain(self, name: str) -> Any:
        return registry.instantiate(_PLAIN[name], f"{self.source}: [{name}]", self.tables.get(name, {}))

    @property
    def training(self) -> Training:
        settings: Training = self._plain("training")
        return settings

    @property
    def evaluation(self) -> Evaluation:
        settings: Evaluation = self._plain("evaluation")
        return settings

    @property
    def splits(self) -> DataSplits:
        own = {field.name for field in fields(DataSplits)}
        return DataSplits(**{key: value for key, value in self._table("data").items() if key in own})

    def _table(self, name: str) -> Mapping[str, Any]:
        if name not in self.tables:
            raise InputError(f"{self.source}: [{name}] is missing")
        table: Mapping[str, Any] = self.tables[name]
        return table

    def _data_table(self) -> dict[str, Any]:
        own = {field.name for field in fields(DataSplits)}
        return {key: value for key, value in self._table("data").items() if key not in own}

    def reader(self) -> Any:
        """The reader alone, for extracting features ahead of training."""
        return self._make(registry.build, "reader", self._table("reader"))

    def pairs(self, which: Split) -> PairSet:
        """One split of the data; its images come from the feature store if the table names one."""
        pairs = self._with_features(self.captioned(which))
        return self._labelled(pairs) if which == "train" and "labels" in self.tables else pairs

    def measured_pairs(self, which: Split) -> PairSet:
        """One split to be measured: if the table names known boxes, its words have objects."""
        if self.splits.objects is None:
            return self.pairs(which)
        from wordsight.read.annotations.load import with_objects
        from wordsight.read.datasets.records import placed

        path = placed(self.splits.objects, getattr(self.splits, which))
        return self._with_features(with_objects(self.captioned(which), path))

    def captioned(self, which: Split) -> PairSet:
        """One split of the data as its own reader gives it: picture files stay picture files."""
        dataset: Dataset = self._make(registry.build, "data", self._data_table())
        return dataset.read(getattr(self.splits, which))

    def _with_features(self, pairs: PairSet) -> PairSet:
        folder = self.splits.features
        if folder is None:
            return pairs
        from wordsight.read.features.store import FeatureStore

        if not isinstance(pairs.images, PictureFiles):
            raise InputError(
                f"[data] features = {folder}: stored features stand in for picture files, but this data has "
                "none"
            )
        return pairs.with_images(FeatureStore.open(Path(folder)).source(pairs.images.paths))

    def _labelled(self, train: PairSet) -> PairSet:
        from wordsight.learn.warm_start import label_names
        from wordsight.read.text.label_vocabulary import Labels

        settings: SemanticLabels = self._plain("labels")
        start = self.training.start_from
        if start and (named := label_names(start)) is not None:
            labels = Labels(named, start)
        elif settings.file is None:
            labels = Labels.learn(
                self._texts(train, settings.validation), settings.count, settings.word_splitter
            )
        else:
            labels = Labels.load(settings.file)
        of_images = labels.of_images(train, settings.word_splitter, settings.concatenate_without_space)
        return replace(train, labels=of_images, label_names=labels.names)

    def _texts(self, train: PairSet, validation: bool) -> Sequence[str]:
        return [*train.texts, *(self.pairs("validation").texts if validation else ())]

    def matcher(self, train: PairSet) -> Matcher:
        """A new matcher; the vocabulary, labels and feature_dim left open come from the training data.

        Where [training] start_from names a trained model, it is that model instead.
        """
        if start := self.training.start_from:
            from wordsight.learn.warm_start import start_from

            parts = {kind: self.tables[kind] for kind in PARTS if kind in self.tables}
            started: Matcher = self._make(start_from, start, parts)
            self._check_features(started)
            return started
        given = {"feature_dim": getattr(train.images, "feature_dim", None), "labels": train.label_names}
        if self._table("tokenizer").get("name") == "words" and "vocabulary" not in self._table("tokenizer"):
            given["vocabulary"] = self._learn_vocabulary(train)
        given = {key: value for key, value in given.items() if value is not None}
        matcher = self._make(Matcher.build, {kind: self._table(kind) for kind in PARTS}, **given)
        self._check_features(matcher)
        self._load_vectors(matcher)
        return matcher

    def _learn_vocabulary(self, train: PairSet) -> Any:
        from wordsight.read.text.vocabulary import Vocabulary

        settings: LearnedVocabulary = self._plain("vocabulary")
        texts = self._texts(train, settings.validation)
        word_splitter = self._make(registry.complete, "tokenizer", self._table("tokenizer"))["word_splitter"]
        return Vocabulary.learn(texts, word_splitter=word_splitter, min_count=settings.min_count)

    def _check_features(self, matcher: Matcher) -> None:
        if self.splits.features and hasattr(matcher.reader, "settings"):
            from wordsight.read.features.store import FeatureStore

            FeatureStore.open(self.splits.features).check_reader(
                matcher.reader.identity, matcher.reader.settings
            )

    def _load_vectors(self, matcher: Matcher) -> None:
        vectors = self._table("text_encoder").get("vectors")
        if vectors is not None:
            from wordsight.read.text.word_vectors import load_vectors

            seed = self.training.seed
            matrix, report = load_vectors(vectors, matcher.tokenizer.vocabulary, seed=seed)
            matcher.text_encoder.load_vectors(matrix, torch.ones_like(report.known))  # missing ones are drawn

    def loss(self, train: PairSet, matcher: Matcher) -> Loss:
        """A new loss; the sizes that it leaves open come from the training data and the encoders."""
        sizes: dict[str, Any] = {
            "classes": len(torch.unique(train.identities)),
            "dim": out_dim(matcher.text_encoder),
        }
        sizes |= self._label_weights(train)
        table = {key: value for key, value in self._table("loss").items() if value or key not in sizes}
        loss: Loss = self._make(registry.build, "loss", table, **sizes)
        return loss

    def _label_weights(self, train: PairSet) -> dict[str, Any]:
        if train.labels is None:
            return {}
        from wordsight.learn.consistency import positive_weights

        settings: SemanticLabels = self._plain("labels")
        return {"positive_weights": positive_weights(train.labels, settings.largest_weight)}


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


_PLAIN: dict[str, Any] = {
    "vocabulary": LearnedVocabulary,
    "labels": SemanticLabels,
    "training": Training,
    "evaluation": Evaluation,
}
