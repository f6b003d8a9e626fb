"""Texts in, the nouns that occur most often out: CASC's semantic labels, and which of them each image has."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float

from wordsight.errors import InputError, MissingFileError
from wordsight.pairs import PairSet
from wordsight.read.text.vocabulary import read_entries, several, write_entries
from wordsight.read.text.word_rules import split_words
from wordsight.tensors import Tensor, torch

UNKNOWN = "<unk>"  # id 0 in every file; label 1 is the first row of what a model predicts
OF_ANOTHER_CORPUS = 0.5  # fewer of the labels occur in the texts


@dataclass(frozen=True)
class Labels:
    """The names of the labels, in the order in which a model predicts them; singular and plural are two."""

    names: tuple[str, ...]
    source: str = "the labels"  # for messages

    @classmethod
    def learn(cls, texts: Iterable[str], count: int = 500, word_splitter: str = "treebank") -> "Labels":
        """The ``count`` most frequent nouns, equally frequent ones by alphabet; fewer if there are fewer.

        What is a noun in its sentence, TextBlob's tagger says, which carries its lexicon in its package; the
        published labels come from NLTK's tagger, which downloads one.
        """
        counts = Counter(noun for text in several(texts) for noun in nouns(split_words(text, word_splitter)))
        if not counts:
            raise InputError("there are no nouns in the texts to make labels of; are they English?")
        return cls(tuple(sorted(counts, key=lambda noun: (-counts[noun], noun))[:count]))

    @classmethod
    def load(cls, path: str | Path) -> "Labels":
        """Read CASC's ``*_vocab_tag.json``: SCAN's vocabulary JSON with ``<unk>`` alone before the labels."""
        path = Path(path).expanduser()
        if not path.is_file():
            raise MissingFileError(f"there are no labels {path}; leave the file out to learn them")
        try:
            first, *names = read_entries(path)
        except ValueError as error:
            raise InputError(f"{path} does not hold labels: {error}") from error
        if first != UNKNOWN or not names or any(name.startswith("<") for name in names):
            raise InputError(
                f'{path} does not hold labels: those follow "{UNKNOWN}", which has id 0, but it starts with '
                f"{', '.join([first, *names][:4])}; is it the vocabulary of the words?"
            )
        return cls(tuple(names), str(path))

    def save(self, path: str | Path) -> None:
        """Write the same JSON; the file appears whole or not at all."""
        write_entries(Path(path), (UNKNOWN, *self.names))

    def of_images(
        self, pairs: PairSet, word_splitter: str = "treebank", concatenate_without_space: bool = False
    ) -> Float[Tensor, "image label"]:
        """1 where any text of the image has the word, whatever it is there; 0 elsewhere.

        ``concatenate_without_space`` joins an image's texts into one before it is split, as the published
        code does: the last word of a text and the first of the next become one, and are lost.

        Raises ValueError when most labels occur in no text: they were made for other texts.
        """
        texts: list[list[str]] = [[] for _ in pairs.names]
        for text, image in zip(pairs.texts, pairs.image_of.tolist(), strict=True):
            texts[image].append(text.strip())
        places = {name: place for place, name in enumerate(self.names)}
        labels = torch.zeros(len(texts), len(places))
        for image, own in enumerate(texts):
            together = ["".join(own)] if concatenate_without_space else own
            words = {word for text in together for word in split_words(text, word_splitter)}
            labels[image, [places[word] for word in words if word in places]] = 1
        self._must_be_of(labels, pairs)
        return labels

    def _must_be_of(self, labels: Float[Tensor, "image label"], pairs: PairSet) -> None:
        seen = labels.any(0)
        if int(seen.sum()) < OF_ANOTHER_CORPUS * len(self.names):
            absent = [name for name, here in zip(self.names, seen.tolist(), strict=True) if not here]
            raise InputError(
                f"{self.source}: only {int(seen.sum())} of {len(self.names)} labels occur in the texts of "
                f"{pairs.source or 'these pairs'}; {', '.join(absent[:3])} do not. They are of another "
                "corpus: leave [labels] file out to learn labels from these texts"
            )


def nouns(words: Sequence[str]) -> Iterator[str]:
    """The nouns of one text, lower-cased, as often as they occur."""
    from textblob.taggers import PatternTagger

    for word, tag in PatternTagger().tag(" ".join(words), tokenize=False):
        if tag.startswith("NN") and any(letter.isalpha() for letter in word):
            yield word
