"""HTTP/1.1 with limits of time and number of connections.

uvicorn waits for ever for the rest of a head, and for a client to read its answer. Here both have a time
limit, the number of connections is limited, and every refusal is a problem (RFC 9457).
"""

import asyncio
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

import h11
from fastapi.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from wordsight.web.problems import problem
from wordsight.web.security import HEADERS

ABORT_SECONDS = 1.0  # after a refusal the connection is cut, even if its client reads nothing


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits in seconds, and the number of connections."""

    head: float = 10.0  # for the head of a request; also for a connection that sends nothing
    reading: float = 30.0  # without the client reading its answer
    connections: int = 512


class LimitedProtocol(H11Protocol):
    """One connection."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    _head: asyncio.TimerHandle | None = None  # runs while the head of a request is awaited
    _reading: asyncio.TimerHandle | None = None  # runs while the client does not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head, self._reading):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.limits.reading, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _watch_head(self) -> None:
        """Start or stop the timer of the next head; it begins with the connection or the last answer."""
        awaited = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if awaited and self._head is None:
            self._head = self.loop.call_later(self.limits.head, self._head_is_late)
        elif not awaited and self._head is not None:
            self._head.cancel()
            self._head = None

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            message = (
                f"The head of the request was not complete after {self.limits.head:g} seconds, the limit"
            )
            self.refuse(408, "too-slow", f"{message}; send it again, faster.")
        else:
            self.transport.close()  # no request was begun

    def _make_room(self) -> None:
        """Close the connection that is idle longest; if none is idle, refuse this one."""
        waiting = [one for one in self.connections if isinstance(one, LimitedProtocol) and one._head]
        oldest = min(waiting, key=lambda one: one._head.when() if one._head else 0.0)
        if oldest is not self:
            oldest.transport.abort()
            self.connections.discard(oldest)
        else:
            message = f"The server has {self.limits.connections} connections, the limit; try again later."
            self.refuse(503, "busy", message, {"retry-after": "1"})

    def send_400_response(self, msg: str) -> None:
        """Refuse a malformed request; uvicorn calls this while it handles h11's error."""
        error = sys.exc_info()[1]
        if not isinstance(error, h11.RemoteProtocolError):
            return self.refuse(400, "malformed", msg)
        status = error.error_status_hint
        message = f"The request is not valid HTTP/1.1: {str(error)[:200]}"
        return self.refuse(status, "too-large" if status == 431 else "malformed", f"{message}.")

    def refuse(self, status: int, kind: str, detail: str, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem and close the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # a running answer to the broken request stops sending
        if self.transport.is_closing() or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return self.transport.abort()
        answer = problem(status, kind, detail, HEADERS | {"connection": "close"} | (headers or {}))
        self.transport.write(self._as_bytes(status, answer))
        self.transport.close()
        self.loop.call_later(ABORT_SECONDS, self.transport.abort)
        return None

    def _as_bytes(self, status: int, answer: Response) -> bytes:
        head = h11.Response(
            status_code=status, headers=answer.raw_headers, reason=HTTPStatus(status).phrase.encode()
        )
        events = (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage())
        return b"".join(self.conn.send(event) or b"" for event in events)
