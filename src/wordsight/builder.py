"""A configuration -> the data, the matcher and the loss of its run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wordsight import registry
from wordsight.config import Config, LearnedVocabulary, SemanticLabels, Split
from wordsight.encode.projection import out_dim
from wordsight.errors import InputError
from wordsight.learn.loss import Loss
from wordsight.matcher import PARTS, Matcher
from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.dataset import Dataset
from wordsight.tensors import torch


@dataclass(frozen=True)
class Builder:
    """Builds what the tables of a configuration describe; each call builds anew."""

    config: Config

    def reader(self) -> Any:
        """The reader alone, for extracting features ahead of training."""
        return self.config.trusted(registry.build, "reader", self.config.table("reader"))

    def pairs(self, which: Split) -> PairSet:
        """One split of the data; its images come from the feature store if the table names one."""
        pairs = self._with_features(self.captioned(which))
        return self._labelled(pairs) if which == "train" and "labels" in self.config.tables else pairs

    def measured_pairs(self, which: Split) -> PairSet:
        """One split to be measured: if the table names known boxes, its words have objects."""
        if self.config.splits.objects is None:
            return self.pairs(which)
        from wordsight.read.annotations.load import with_objects
        from wordsight.read.datasets.records import placed

        path = placed(self.config.splits.objects, getattr(self.config.splits, which))
        return self._with_features(with_objects(self.captioned(which), path))

    def captioned(self, which: Split) -> PairSet:
        """One split of the data as its own reader gives it: picture files stay picture files."""
        dataset: Dataset = self.config.trusted(registry.build, "data", self.config.data_table())
        return dataset.read(getattr(self.config.splits, which))

    def _with_features(self, pairs: PairSet) -> PairSet:
        folder = self.config.splits.features
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

        settings: SemanticLabels = self.config.settings("labels")
        start = self.config.training.start_from
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
        if start := self.config.training.start_from:
            from wordsight.learn.warm_start import start_from

            parts = {kind: self.config.tables[kind] for kind in PARTS if kind in self.config.tables}
            started: Matcher = self.config.trusted(start_from, start, parts)
            self._check_features(started)
            return started
        given = {"feature_dim": getattr(train.images, "feature_dim", None), "labels": train.label_names}
        tokenizer = self.config.table("tokenizer")
        if tokenizer.get("name") == "words" and "vocabulary" not in tokenizer:
            given["vocabulary"] = self._learn_vocabulary(train)
        given = {key: value for key, value in given.items() if value is not None}
        parts = {kind: self.config.table(kind) for kind in PARTS}
        matcher = self.config.trusted(Matcher.build, parts, **given)
        self._check_features(matcher)
        self._load_vectors(matcher)
        return matcher

    def _learn_vocabulary(self, train: PairSet) -> Any:
        from wordsight.read.text.vocabulary import Vocabulary

        settings: LearnedVocabulary = self.config.settings("vocabulary")
        texts = self._texts(train, settings.validation)
        tokenizer = self.config.trusted(registry.complete, "tokenizer", self.config.table("tokenizer"))
        splitter = tokenizer["word_splitter"]
        return Vocabulary.learn(texts, word_splitter=splitter, min_count=settings.min_count)

    def _check_features(self, matcher: Matcher) -> None:
        if self.config.splits.features and hasattr(matcher.reader, "settings"):
            from wordsight.read.features.store import FeatureStore

            FeatureStore.open(self.config.splits.features).check_reader(
                matcher.reader.identity, matcher.reader.settings
            )

    def _load_vectors(self, matcher: Matcher) -> None:
        vectors = self.config.table("text_encoder").get("vectors")
        if vectors is not None:
            from wordsight.read.text.word_vectors import load_vectors

            seed = self.config.training.seed
            matrix, report = load_vectors(vectors, matcher.tokenizer.vocabulary, seed=seed)
            matcher.text_encoder.load_vectors(matrix, torch.ones_like(report.known))  # missing ones are drawn

    def loss(self, train: PairSet, matcher: Matcher) -> Loss:
        """A new loss; the sizes that it leaves open come from the training data and the encoders."""
        sizes: dict[str, Any] = {
            "classes": len(torch.unique(train.identities)),
            "dim": out_dim(matcher.text_encoder),
        }
        sizes |= self._label_weights(train)
        table = {key: value for key, value in self.config.table("loss").items() if value or key not in sizes}
        loss: Loss = self.config.trusted(registry.build, "loss", table, **sizes)
        return loss

    def _label_weights(self, train: PairSet) -> dict[str, Any]:
        if train.labels is None:
            return {}
        from wordsight.learn.consistency import positive_weights

        settings: SemanticLabels = self.config.settings("labels")
        return {"positive_weights": positive_weights(train.labels, settings.largest_weight)}
