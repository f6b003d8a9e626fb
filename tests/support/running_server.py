"""The app on a port of this machine, as ``wordsight serve`` runs it, in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from support.waiting import PATIENCE

from wordsight.web.http_protocol import ConnectionLimits, LimitedProtocol
from wordsight.web.server import listen


@contextmanager
def listening(app: Any, port: int = 0, **limits: float) -> Iterator[int]:
    """Its port. ``limits``: those of a connection that are not the usual ones."""
    protocol = type("Limited", (LimitedProtocol,), {"limits": ConnectionLimits(**limits)})  # type: ignore[arg-type]
    with listen("127.0.0.1", port) as listener:
        config = uvicorn.Config(app, http=protocol, log_level="error", ws="none", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
