"""Commands about configurations: config show."""

import typer

from wordsight.cli.config_options import Changes, ConfigFile
from wordsight.cli.trust import TrustRemoteCode


def register(app: typer.Typer) -> None:
    config = typer.Typer(help="Print a configuration.", no_args_is_help=True)
    config.command(epilog="Example: wordsight config show configs/chan-f30k-gru.toml")(show)
    app.add_typer(config, name="config")


def show(config: ConfigFile, changes: Changes = None, trust_remote_code: TrustRemoteCode = False) -> None:
    """Print a configuration with every default written out."""
    from wordsight.config import load_config

    typer.echo(load_config(config, changes or (), trust_remote_code).complete().to_toml(), nl=False)
