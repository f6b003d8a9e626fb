"""The command about other people's models: import."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from wordsight.cli.config_options import Changes
from wordsight.cli.option_groups import with_options
from wordsight.cli.stderr import say
from wordsight.cli.trust import TrustRemoteCode


def register(app: typer.Typer) -> None:
    app.command(
        "import",
        epilog="Example: wordsight import model_best.pth --from chan --vocabulary f30k_precomp_vocab.json "
        "--out chan-f30k",
    )(with_options(import_))


@dataclass(frozen=True)
class CheckpointOptions:
    """Facts that a checkpoint does not hold itself."""

    vocabulary: Annotated[
        Path | None,
        typer.Option(help="The vocabulary it was trained with: JSON, a pickle, or BERT's vocab.txt."),
    ] = None
    config: Annotated[
        str | None, typer.Option(help="Configuration of the parts that the checkpoint does not describe.")
    ] = None
    changes: Changes = None
    bert: Annotated[
        Path | None, typer.Option(help="The folder of the BERT it was trained from: config.json, vocab.txt.")
    ] = None
    ema: Annotated[
        bool | None,
        typer.Option(
            "--ema/--no-ema",
            help="Of cmpl-pytorch: take the running average of the weights, or the last ones; by default "
            "the average where the file has one.",
        ),
    ] = None

    @property
    def any(self) -> bool:
        files = self.vocabulary or self.config or self.changes or self.bert
        return bool(files) or self.ema is not None

    def tables(self, trust_remote_code: bool) -> Mapping[str, Any] | None:
        """The tables of the configuration, if one was given."""
        if self.config is None:
            if self.changes:
                raise typer.BadParameter("--set changes a configuration; give one with --config")
            return None
        from wordsight.config import load_config

        return load_config(self.config, self.changes or (), trust_remote_code).tables


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="A .pth or .pth.tar file; of a dual encoder a folder or a hub name."
        ),
    ],
    system: Annotated[
        str,
        typer.Option(
            "--from",
            help="System that made it: chan, vse-infinity, scan, casc, vsepp, cmpl-pytorch; of dual encoders "
            "clip, metaclip_2, siglip, siglip2 or tipsv2.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    *,
    known: CheckpointOptions,
    regions: Annotated[
        str,
        typer.Option(
            help="Of dual encoders: whole, or patches, which tell where words are: of tipsv2 as evidence, of "
            "the others as a hint."
        ),
    ] = "whole",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Turn a published checkpoint into a model folder; every weight is accounted for in its import.json."""
    from wordsight.pretrained.dual_encoders import FAMILIES

    if system in FAMILIES:
        if known.any:
            raise typer.BadParameter(f"a published {system} says all of it; leave the other options out")
        _import_dual(source, system, out, regions)
        return
    from wordsight.importers.convert import import_checkpoint

    tables = known.tables(trust_remote_code)
    imported = import_checkpoint(
        source, system, out, known.vocabulary, known.bert, tables, known.ema, trust_remote_code
    )
    say(imported.to_text())
    typer.echo(out)


def _import_dual(source: Path, system: str, out: Path, regions: str) -> None:
    from wordsight.importers.clip_siglip import import_dual

    facts = import_dual(source, out, system, regions)
    counts = facts["weights"]
    say(
        f"{counts['vision']:,} numbers see pictures, {counts['text']:,} read texts; "
        f"score = {facts['scale']:.4g} x cosine {facts['bias']:+.4g}"
    )
    typer.echo(out)
