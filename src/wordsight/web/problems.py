"""Errors -> application/problem+json (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from wordsight.errors import MissingItemError, UnavailableError, WordsightError
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.search.query.parser import QueryError

MEDIA = "application/problem+json"
MAX_NAMED_FIELDS = 5  # wrong fields named in the detail


class Wrong(BaseModel):
    """One invalid field of a request."""

    field: str = Field(description="Name of the parameter, or path in the body.")
    reason: str = Field(description="Why it is invalid.")


class Problem(BaseModel):
    """Problem details of a refused request (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"title": "Problem"})

    type: str = Field(description="Kind of the problem, stable for programs.")
    title: str = Field(description="Name of the HTTP status.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="The value, the limit and the next step.")
    position: int | None = Field(
        None, description="Position of the error in an invalid query, counted from 1."
    )
    errors: list[Wrong] | None = Field(None, description="Invalid fields of the request.")


class Refused(HTTPException):
    """A request that is answered with a problem."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.more = kind, more

    def response(self) -> JSONResponse:
        return problem(self.status_code, self.kind, self.detail, dict(self.headers or {}), **self.more)


def problem(
    status: int, kind: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    body = Problem(
        type=f"urn:wordsight:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_text(detail),
        **more,
    )
    content = body.model_dump(exclude_none=True)
    return JSONResponse(
        content, status, headers={"cache-control": "no-store"} | (headers or {}), media_type=MEDIA
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the problems that a route may answer with."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    always = (400, 401, 403, 421, 500, 503)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA: schema}}
        for status in sorted({*statuses, *always})
    }


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Turn every error of this app into a problem; ``routers`` are those of its routes."""
    app.state.routes = [route for router in routers for route in router.routes]

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def by_the_framework(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            methods = _methods(request)
            headers["Allow"] = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
        kind, detail = _framework(request, error)
        return problem(error.status_code, kind, detail, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _invalid(error.errors())

    @app.exception_handler(WordsightError)
    async def not_valid(_: Request, error: WordsightError) -> JSONResponse:
        return of_user_error(error)


def unforeseen(id: str) -> JSONResponse:
    """Problem of an unforeseen error; the details are only in the log, under the request's id."""
    message = (
        f"The server failed at this request; its log says where, under {id}. The next one is not affected."
    )
    return problem(500, "internal", message)


def of_user_error(error: WordsightError) -> JSONResponse:
    """Problem of an error that the client can fix."""
    if isinstance(error, QueryError):
        return problem(422, "query", str(error), position=error.position)
    if isinstance(error, UnreadablePicture):
        return problem(422, "unreadable-picture", f"The picture cannot be read: {error.reason}.")
    if isinstance(error, MissingItemError):
        return problem(404, "no-item", f"{error}.")
    if isinstance(error, UnavailableError):
        return problem(503, "index", f"{error}.")
    return problem(422, "invalid", str(error))


def _framework(request: Request, error: HTTPException) -> tuple[str, str]:
    path = request.url.path[:200]
    if error.status_code == 404:
        return "not-found", f"Nothing is at {path}; /openapi.json lists all routes."
    if error.status_code == 405:
        allowed = " or ".join(_methods(request))
        return "method", f"{request.method[:20]} is not allowed at {path}; use {allowed}."
    if error.status_code == 400:
        return (
            "malformed",
            f"The body cannot be read: {str(error.detail).rstrip('.')}. Send it again, complete.",
        )
    return "http", str(error.detail)


def _methods(request: Request) -> list[str]:
    """All methods of a path; a router reports only those of its first route."""
    routes = [
        route for route in request.app.state.routes if route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for route in routes for method in getattr(route, "methods", ())})


def _invalid(errors: Sequence[Any]) -> JSONResponse:
    wrong = [Wrong(field=_place(error["loc"]), reason=_reason(error)) for error in errors]
    named = "; ".join(f"{one.field}: {one.reason}" for one in wrong[:MAX_NAMED_FIELDS])
    more = f"; and {len(wrong) - MAX_NAMED_FIELDS} more" if len(wrong) > MAX_NAMED_FIELDS else ""
    malformed = any(error["type"] == "json_invalid" for error in errors)
    return problem(
        400 if malformed else 422, "malformed" if malformed else "invalid", f"{named}{more}.", errors=wrong
    )


def _place(location: Sequence[Any]) -> str:
    """Name of a field, without the part of the request that it is in."""
    parts = [str(part) for part in location if not isinstance(part, int) or len(location) > 2]
    inner = parts[1:] if len(parts) > 1 and parts[0] in ("body", "query", "path", "header") else parts
    return _text(".".join(inner)[:200]) or "the body"


def _reason(error: Any) -> str:
    reason = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    short = (
        isinstance(given, int | float | str | bool) and len(str(given)) <= 40 and error["type"] != "missing"
    )
    return f"{reason} (given: {_text(str(given))})" if short else reason


def _text(given: str) -> str:
    """Text that can be encoded; lone surrogates are replaced."""
    return given.encode("utf-8", "replace").decode()
