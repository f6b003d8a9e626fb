"""Commands about region features: features extract, export and encode."""

import typer

from wordsight.cli import features_export, features_extract
from wordsight.cli.option_groups import with_options


def register(app: typer.Typer) -> None:
    features = typer.Typer(help="Region features of pictures.", no_args_is_help=True)
    features.command(epilog=features_extract.EPILOG)(with_options(features_extract.extract))
    features.command(epilog=features_export.EXPORT_EPILOG)(with_options(features_export.export))
    features.command(epilog=features_export.ENCODE_EPILOG)(features_export.encode)
    app.add_typer(features, name="features")
