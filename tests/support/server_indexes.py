"""New, empty indexes on every kind of server, and the commands that work on their addresses."""

from pathlib import Path

from support import postgres_server
from support.small_index import draw, small_model
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.search.places import ServerAddress, index_place, server_index
from wordsight.search.remote.server_index import ServerIndex

SERVERS = ("postgres", "qdrant")


def new_address(kind: str, folder: Path) -> ServerAddress:
    """The address of an index that is not there yet; a folder of Qdrant is below ``folder``."""
    if kind == "postgres":
        return postgres_server.new_url()
    folder.mkdir(parents=True, exist_ok=True)
    place = index_place(f"qdrant+file://{folder / 'qdrant'}#{postgres_server.new_name('t')}")
    assert not isinstance(place, Path)
    return place


def new_index(kind: str, folder: Path, model: Path) -> ServerIndex:
    """An empty index of this model."""
    address = new_address(kind, folder)
    return server_index(address).create(address, model)


def filled_index(kind: str, folder: Path, pictures: int = 6) -> ServerIndex:
    """An index of the pictures that are drawn in ``folder / "pictures"``."""
    made = new_index(kind, folder, small_model(folder))
    draw(folder / "pictures", range(pictures))
    made.update([folder / "pictures"])
    return made


def typed(address: object) -> str:
    """An address as a user types it."""
    conninfo = getattr(address, "conninfo", None)
    return f"{conninfo}#{address.name}" if conninfo else str(address)  # type: ignore[attr-defined]


def run(*arguments: object, code: int = 0) -> str:
    """Output of the command; its exit code must be ``code``."""
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout
