"""Commands about semantic labels: labels (what a picture or a text shows), vocab labels (learn them)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.data_options import CaptionColumn, Division, DivisionSeed, SplitColumn, Splits, split_names
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError, MissingFileError
from wordsight.files.json_text import to_json

if TYPE_CHECKING:
    from wordsight.matcher import Matcher

EPILOG = "Example: wordsight vocab labels data/f30k_precomp --out f30k_vocab_tag.json"


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: wordsight labels runs/casc-f30k photo.jpg "a dog runs" --top 5')(labels)


def labels(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run's folder, a model's folder, or a hub name.")
    ],
    items: Annotated[
        list[str], typer.Argument(metavar="PICTURE|TEXT...", help="Files of pictures, and texts in quotes.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable labels.")] = 10,
    names: Annotated[
        Path | None,
        typer.Option(help="CASC's *_vocab_tag.json, for an imported model that does not know its labels."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per picture or text instead of the list.")
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Predict a model's semantic labels for pictures or texts, with probabilities.

    Each is judged by the mean of its own vectors; in a score, by what the other side finds in it.
    """
    from wordsight.runs import open_matcher

    for told in predicted(open_matcher(model, trust_remote_code), items, top, names):
        typer.echo(to_json(told) if as_json else _as_text(told))


def predicted(
    matcher: "Matcher", items: Sequence[str], top: int, names: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The most probable labels of each picture or text, most probable first."""
    import torch

    from wordsight.similarity.label_agreement import Semantic

    similarity = matcher.similarity
    if not isinstance(similarity, Semantic):
        raise InputError(
            f"this model's similarity, {type(similarity).__name__}, predicts no labels; "
            'train one with [similarity] name = "label-agreement", for instance configs/casc-f30k.toml'
        )
    known = similarity.label_names if names is None else _names(names, len(similarity.label_names))
    for item in items:
        picture = _is_picture(item)
        with torch.no_grad():
            encoded = matcher.encode_images([item]) if picture else matcher.encode_texts([item])
            best = similarity.predict(encoded)[0].topk(min(top, len(known)))
        each = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        named = [{"label": known[place], "probability": round(value, 6)} for place, value in each]
        yield {"picture" if picture else "text": item, "labels": named}


def _is_picture(item: str) -> bool:
    from wordsight.read.pictures.walk import is_picture

    if Path(item).is_file():
        return True
    if is_picture(item):
        raise MissingFileError(f"there is no picture {item}")
    return False


def _names(file: Path, count: int) -> Sequence[str]:
    from wordsight.read.text.label_vocabulary import Labels

    names = Labels.load(file).names
    if len(names) != count:
        raise InputError(
            f"{file} names {len(names)} labels, but the model predicts {count}; "
            "give the file that it was trained with"
        )
    return names


def _as_text(told: dict[str, Any]) -> str:
    head = told.get("picture") or told["text"]
    return "\n".join([head, *(f"  {each['probability']:.3f}  {each['label']}" for each in told["labels"])])


def learn(
    source: Annotated[Path, typer.Argument(metavar="TEXTS|DATA", help="One text per line, or a data set.")],
    out: Annotated[Path, typer.Option(help="The JSON to write, in the layout of CASC's *_vocab_tag.json.")],
    count: Annotated[int, typer.Option(min=1, help="How many of the most frequent nouns.")] = 500,
    word_splitter: Annotated[
        str, typer.Option(help="How texts are cut into words: treebank, karpathy, cmpl or cmpl-cased.")
    ] = "treebank",
    splits: Splits = "train",
    caption_column: CaptionColumn = None,
    split_column: SplitColumn = None,
    split: Division = None,
    split_seed: DivisionSeed = None,
) -> None:
    """Learn semantic labels, the most frequent nouns, from the texts of a data set or of a text file."""
    from wordsight.read.datasets.detect_format import texts_of
    from wordsight.read.text.label_vocabulary import Labels

    columns = {"caption_column": caption_column, "split_column": split_column}
    texts = texts_of(source, split_names(splits), split=split, seed=split_seed, **columns)
    learned = Labels.learn(texts, count, word_splitter)
    learned.save(out)
    typer.echo(f"{out}: {len(learned.names)} labels, {', '.join(learned.names[:5])}, ...")
