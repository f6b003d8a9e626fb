"""The command labels: semantic labels of pictures and texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.config_options import ConfigOptions, split_name
from wordsight.cli.option_groups import with_options
from wordsight.cli.shared_options import Device
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError, MissingFileError
from wordsight.files.json_text import to_json

if TYPE_CHECKING:
    from torch import Tensor

    from wordsight.evaluation.label_predictions import LabelPredictions
    from wordsight.matcher import Matcher
    from wordsight.similarity.label_agreement import Semantic, Side


class ScoresOf(StrEnum):
    """Where the probabilities of an item in a split come from."""

    matches = "matches"
    own = "own"


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: wordsight labels runs/casc-f30k photo.jpg "a dog runs" --top 5')(
        with_options(labels)
    )


@dataclass(frozen=True)
class MatchOptions:
    """The data in which an item has its best matches, whose labels are shown too."""

    split: Annotated[
        str | None,
        typer.Option(
            help="Also the best sentences of this split for a picture, or pictures for a text, with their "
            "labels: train, validation or test. Needed where the model reads precomputed features."
        ),
    ] = None
    matches: Annotated[int, typer.Option(min=1, help="With --split: how many sentences or pictures.")] = 3
    scores: Annotated[
        ScoresOf | None,
        typer.Option(
            help="With --split: probabilities as published, the mean over the matches of what they find "
            "in it; or by its own vectors, as without --split."
        ),
    ] = None


def labels(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run's folder, a model's folder, or a hub name.")
    ],
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE|TEXT|ID...",
            help="Files of pictures, and texts in quotes; with --split also names or ids of its images.",
        ),
    ],
    *,
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable labels.")] = 10,
    names: Annotated[
        Path | None,
        typer.Option(help="CASC's *_vocab_tag.json, for an imported model that does not know its labels."),
    ] = None,
    among: MatchOptions,
    data: ConfigOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per picture or text instead of the list.")
    ] = False,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Predict a model's semantic labels for pictures or texts, with probabilities.

    With --split, an item's best matches come with the labels that the item finds in each of them.
    """
    from wordsight.evaluation.label_predictions import LabelPredictions
    from wordsight.runs.opening import open_data, open_matcher

    if among.split is None and (data.config or data.changes or among.scores):
        raise typer.BadParameter("--config, --set and --scores go with the data of a --split; give one")
    matcher = open_matcher(model, trust_remote_code, device)
    if among.split is None:
        found = predicted(matcher, items, top, names)
    else:
        changes = data.changes or ()
        opened = open_data(model, data.config, changes, split_name(among.split), trust_remote_code)
        by_matches = among.scores is not ScoresOf.own
        found = predicted_in(
            LabelPredictions(matcher, opened.pairs), items, top, among.matches, by_matches, names
        )
    for one in found:
        typer.echo(to_json(one) if as_json else _as_text(one))


def predicted(
    matcher: "Matcher", items: Sequence[str], top: int, names: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The most probable labels of each picture or text, most probable first."""
    import torch

    from wordsight.evaluation.label_predictions import label_similarity
    from wordsight.read.features.precomputed_reader import Precomputed

    similarity = label_similarity(matcher)
    known = _known(similarity, names)
    for item in items:
        side: Side = "image" if _is_picture(item) else "text"
        if side == "image" and isinstance(matcher.reader, Precomputed):
            raise InputError(
                f"this model reads precomputed features and cannot look at {item}",
                "give the image's id in its data: wordsight labels MODEL ID --split test",
            )
        with torch.no_grad():
            encoded = matcher.encode_images([item]) if side == "image" else matcher.encode_texts([item])
            own = similarity.predict(encoded, side)[0]
        yield {_KEY[side]: item, "labels": _best(own, known, top)}


def predicted_in(
    predictions: "LabelPredictions",
    items: Sequence[str],
    top: int,
    matches: int,
    by_matches: bool,
    names: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Labels of the images and texts of a split; each item also has its best matches."""
    from wordsight.evaluation.label_predictions import mean_labels, row_of

    known = _known(predictions.similarity, names)
    pairs, matcher = predictions.pairs, predictions.matcher
    for item in items:
        row = row_of(pairs, item)
        if row is None and item.isdecimal():
            raise InputError(f"{pairs.source} has no image {item}; its images are {pairs.names[0]}, ...")
        side: Side = "image" if row is not None or _is_picture(item) else "text"
        if row is not None:
            encoded = predictions.image(row)
        else:
            encoded = matcher.encode_images([item]) if side == "image" else matcher.encode_texts([item])
        best = predictions.best_matches(encoded, side, matches)
        probable = mean_labels(best) if by_matches else predictions.similarity.predict(encoded, side)[0]
        found: dict[str, Any] = {_KEY[side]: item, "labels": _best(probable, known, top)}
        found["matches"] = []
        for match in best:
            text = pairs.texts[match.row] if side == "image" else pairs.names[match.row]
            one = {_KEY["text" if side == "image" else "image"]: text, "score": match.score}
            if row is not None:
                one["own"] = int(pairs.image_of[match.row]) == row
            found["matches"].append(one | {"labels": _best(match.of_match, known, top)})
        yield found


_KEY: dict["Side", str] = {"image": "picture", "text": "text"}


def _best(probabilities: "Tensor", known: Sequence[str], top: int) -> list[dict[str, Any]]:
    best = probabilities.topk(min(top, len(known)))
    each = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [{"label": known[place], "probability": round(value, 6)} for place, value in each]


def _known(similarity: "Semantic", names: Path | None) -> Sequence[str]:
    return similarity.label_names if names is None else _names(names, len(similarity.label_names))


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


def _as_text(found: dict[str, Any]) -> str:
    lines = [found.get("picture") or found["text"]]
    lines += [f"  {each['probability']:.3f}  {each['label']}" for each in found["labels"]]
    for number, match in enumerate(found.get("matches", ()), 1):
        own = "  (its own)" if match.get("own") else ""
        lines.append(f"  {number}. {match['score']:.3f}  {match.get('text') or match['picture']}{own}")
        labels = ", ".join(f"{each['label']} {each['probability']:.2f}" for each in match["labels"])
        lines.append(f"     {labels}")
    return "\n".join(lines)
