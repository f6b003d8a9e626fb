"""The command that audits: pairs and a trained model in, doubtful captions and duplicates out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.data_options import DatasetOptions, split_names
from wordsight.cli.option_groups import with_options
from wordsight.cli.shared_options import Device, say_written
from wordsight.cli.stderr import printable, say
from wordsight.cli.trust import TrustRemoteCode

if TYPE_CHECKING:
    from wordsight.audit.audit import Audit

EPILOG = "Example: wordsight audit captions.csv --model runs/mine --html audit.html"
SHOWN = 10  # findings of a kind that are printed


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(with_options(audit))


@dataclass(frozen=True)
class AuditFiles:
    """Where findings are written, whole."""

    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table of all findings.")] = None
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures, for people.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False


def audit(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="A data set, in any format that data check reads.")
    ],
    model: Annotated[str, typer.Option(help="A run, a saved model, a published CLIP, SigLIP, ...")],
    *,
    dataset: DatasetOptions,
    files: AuditFiles,
    splits: Annotated[str | None, typer.Option(help="Only these splits, as train,val.")] = None,
    features: Annotated[
        Path | None, typer.Option(help="Stored features of the pictures, which save reading them.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Captions, and words, to name.")] = 100,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates/--no-duplicates", help="Also find pictures and captions that are there twice."
        ),
    ] = True,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Find captions and words that their picture does not support, better captions, and duplicates.

    Nothing is changed. Any model that fits your kind of pictures will do, also one that was trained on these
    very pairs.
    """
    from wordsight.audit.audit import audit as run
    from wordsight.audit.dataset import AuditedData
    from wordsight.files.json_text import to_json
    from wordsight.read.datasets.detect_format import open_dataset
    from wordsight.runs.opening import open_matcher
    from wordsight.runtime.progress import ProgressDisplay

    chosen = None if splits is None else split_names(splits)
    data = AuditedData.read(open_dataset(pairs, **dataset.settings()), chosen, features)
    matcher = open_matcher(model, trust_remote_code, device)
    with ProgressDisplay() as progress:
        found = run(matcher, data, top=top, duplicates=duplicates, progress=progress)
    _write(found, files, pairs.name)
    typer.echo(to_json(found.to_dict(), ensure_ascii=False) if files.as_json else printable(_text(found)))
    if not found.has_words:
        say("this model has no probabilities, so single words are not judged: wordsight calibrate MODEL")


def _write(found: "Audit", files: AuditFiles, name: str) -> None:
    if files.csv_file is not None:
        from wordsight.files.atomic import atomic_file

        with atomic_file(files.csv_file) as file:
            file.write(found.to_csv().encode("utf-8", "surrogateescape"))
        say_written("table", files.csv_file)
    if files.html is not None:
        from wordsight.report.audit_page import write_audit_page

        write_audit_page(files.html, f"Audit of {name}", found)
        say_written("page", files.html)


def _text(found: "Audit") -> str:
    from wordsight.audit.audit import percent

    data = found.data
    lines = [
        f"{len(data.texts):,} captions of {len(data.names):,} pictures; {found.unlikely:,} look like "
        "captions of another picture",
        "",
        "doubtful captions (probability that it belongs to its picture; words that it does not show)",
    ]
    for one in found.captions[:SHOWN]:
        against = ", ".join(word.text for word in one.words if word.unsupported)
        lines.append(f"  {percent(one.probability):>8}  {data.names[one.picture]}: {data.texts[one.number]}")
        if against:
            lines.append(f"            not shown: {against}")
        lines += [f"            better: {text}" for text in found.suggested(one.picture)[:1]]
    if found.words:
        lines += ["", "doubtful words of other captions (probability that the picture shows it)"]
        for one, word in found.words[:SHOWN]:
            place = f"{data.names[one.picture]}: {data.texts[one.number]}"
            lines.append(f"  {percent(word.probability):>8}  {word.text}: {place}")
    lines += [
        "",
        "duplicates: " + (", ".join(f"{n:,} {name}" for name, n in found.counts().items() if n) or "none"),
    ]
    for twin in [one for one in found.duplicates if one.across][:SHOWN]:
        row = found.duplicate_row(twin)
        lines.append(f"  {row[0]}: {row[1]} {row[2]} {row[3]} = {row[7]} {row[8]}".rstrip())
    return "\n".join(lines)
