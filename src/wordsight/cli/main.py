"""The command line: words in, calls out. Results go to stdout, talk to stderr, verdicts to the exit code."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from wordsight import aliases
from wordsight.cli.failures import INTERRUPTED, TRACEBACK, stop, without_traceback_option
from wordsight.cli.lazy_group import Verb, lazy_group
from wordsight.cli.stderr import logged_to_stderr, say, write_any_text_to_stdout
from wordsight.runtime.malloc import keep_freed_memory

_INTERRUPTED = "interrupted; finished work is stored: the same command goes on from there (train: --resume)"
_EPILOG = (
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some inputs were skipped; "
    "4 a model or data is not to be had offline; 5 nothing matches (--strict); 130 interrupted, state saved."
)

VERBS = {  # in the order of --help: the module that registers the verb, and what the verb does
    "train": Verb("train", "Train a model; the run's folder gets its log and its state."),
    "demo": Verb("train", "Learn a generated world in a minute and open it in the browser."),
    "config": Verb("config", "Print a configuration, or all that there are."),
    "evaluate": Verb("evaluate", "Measure R@1/5/10, ranks and rsum in both directions."),
    "calibrate": Verb("calibrate", "Fit the probabilities of words and matches."),
    "compare": Verb("compare", "Train and measure systems, losses and seeds: one table."),
    "audit": Verb("audit", "Find captions that their picture does not support."),
    "features": Verb("features", "Extract and export the features of regions."),
    "data": Verb("data", "Check, convert and generate data sets."),
    "vocab": Verb("vocab", "Build vocabularies of words and of labels."),
    "import": Verb("import_model", "Turn a published checkpoint into a model folder."),
    "export": Verb("export_model", "Export a model to ONNX, to run without torch."),
    "index": Verb("index", "Make or update the index of a folder of pictures."),
    "labels": Verb("labels", "Predict semantic labels of pictures or texts."),
    "search": Verb("search", "Find the pictures that a sentence describes."),
    "similar": Verb("similar", "Find the pictures like a picture."),
    "captions": Verb("captions", "Find the sentences that describe a picture."),
    "explain": Verb("explain", "Show which region matched which word."),
    "serve": Verb("serve", "Serve the search page and the REST interface."),
    "engine": Verb("engine", "Run a PostgreSQL server for indexes on this machine."),
    "doctor": Verb("doctor", "Examine this machine, the installation and an index."),
}
_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}

app = typer.Typer(
    name="wordsight",
    cls=lazy_group(VERBS, package="wordsight.cli", **_PLAIN),
    help="Match pictures and sentences word by word: learn it, measure it, see why.",
    epilog=_EPILOG,
    no_args_is_help=True,
    **_PLAIN,
)


@app.callback(invoke_without_command=True)
def _before_every_verb(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    traceback: bool = typer.Option(  # noqa: ARG001
        False, TRACEBACK, help="Show the whole traceback of an error; it may stand anywhere."
    ),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"wordsight {installed('wordsight')}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run a command. An error that the user can fix is one line on stderr; a bug says that it is one."""
    write_any_text_to_stdout()
    keep_freed_memory()  # of this process, which is the command's own
    warnings.formatwarning = _in_one_line  # type: ignore[assignment]
    warnings.filterwarnings(
        "ignore", "Image size .* exceeds limit"
    )  # twice that limit is an error with a message
    warnings.filterwarnings("ignore", module=r"PIL\.")  # a damaged EXIF block does not stop a picture
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its dozen lines on retries; the error says it once
    given, show_traceback = without_traceback_option(sys.argv[1:] if arguments is None else arguments)
    try:
        with logged_to_stderr():
            app(args=with_current_options(given), prog_name="wordsight")
    except SystemExit as end:  # typer turns Ctrl-C into an exit code and says nothing
        if end.code == INTERRUPTED:
            say(f"wordsight: {_INTERRUPTED}")
        raise
    except Exception as error:
        stop(error, show_traceback, _verb(given))


def _verb(arguments: Sequence[str]) -> str:
    """The command in a command line: train, data records."""
    group: Any = typer.main.get_command(app)
    words: list[str] = []
    for word in arguments:
        if word not in (getattr(group, "commands", None) or ()):
            break
        words.append(word)
        group = group.commands[word]
    return " ".join(words) or "this"


def _in_one_line(message: Warning | str, *_: object) -> str:
    """A warning as a sentence of the command, without the line of code that it comes from."""
    return f"wordsight: {message}\n"


def with_current_options(arguments: list[str]) -> list[str]:
    """Replace options of version 0.1.0 by those of today, with a warning."""
    renamed = aliases.OPTIONS.get(arguments[0], {}) if arguments else {}
    current: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option in renamed and "--" not in current:
            say(f"wordsight: {option} is now {renamed[option]}")
            option = renamed[option]
        current.append(option + equals + value)
    return current
