"""Commands about vocabularies: vocab build (of words) and vocab labels (of semantic labels)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.data_options import CaptionColumn, Division, DivisionSeed, SplitColumn, Splits, split_names
from wordsight.cli.option_groups import with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

Source = Annotated[Path, typer.Argument(metavar="TEXTS|DATA", help="One text per line, or a data set.")]


@dataclass(frozen=True)
class TextOptions:
    """Texts that count, and how they are cut into words."""

    word_splitter: Annotated[
        str, typer.Option(help="How texts are cut into words: treebank, karpathy, cmpl or cmpl-cased.")
    ] = "treebank"
    splits: Splits = "train"
    caption_column: CaptionColumn = None
    split_column: SplitColumn = None
    split: Division = None
    split_seed: DivisionSeed = None

    def texts(self, source: Path) -> "Sequence[str]":
        """The texts of the splits of a data set, or the lines of a file."""
        from wordsight.read.datasets.detect_format import texts_of

        columns = {"caption_column": self.caption_column, "split_column": self.split_column}
        names = split_names(self.splits)
        return texts_of(source, names, split=self.split, seed=self.split_seed, **columns)


def register(app: typer.Typer) -> None:
    vocab = typer.Typer(help="Vocabularies of words and of labels.", no_args_is_help=True)
    vocab.command(epilog="Example: wordsight vocab build data/f30k_precomp --out f30k_vocab.json")(
        with_options(build)
    )
    vocab.command(epilog="Example: wordsight vocab labels data/f30k_precomp --out f30k_vocab_tag.json")(
        with_options(labels)
    )
    app.add_typer(vocab, name="vocab")


def build(
    source: Source,
    out: Annotated[Path, typer.Option(help="The JSON to write, in SCAN's layout.")],
    min_count: Annotated[int, typer.Option(help="Rarer words become <unk>.")] = 4,
    *,
    texts: TextOptions,
) -> None:
    """Learn a vocabulary from the texts of a data set or of a text file; published ones count train,val."""
    from wordsight.read.text.vocabulary import Vocabulary

    found = texts.texts(source)
    vocabulary = Vocabulary.learn(found, word_splitter=texts.word_splitter, min_count=min_count)
    vocabulary.save(out)
    typer.echo(f"{out}: {len(vocabulary)} words")


def labels(
    source: Source,
    out: Annotated[Path, typer.Option(help="The JSON to write, in the layout of CASC's *_vocab_tag.json.")],
    count: Annotated[int, typer.Option(min=1, help="How many of the most frequent nouns.")] = 500,
    *,
    texts: TextOptions,
) -> None:
    """Learn semantic labels, the most frequent nouns, from the texts of a data set or of a text file."""
    from wordsight.read.text.label_vocabulary import Labels

    learned = Labels.learn(texts.texts(source), count, texts.word_splitter)
    learned.save(out)
    typer.echo(f"{out}: {len(learned.names)} labels, {', '.join(learned.names[:5])}, ...")
