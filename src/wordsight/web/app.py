"""The ASGI app: the REST interface, its description, and the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response

from wordsight.errors import InputError
from wordsight.search.searcher import Searcher
from wordsight.web import desktop_routes, item_routes, problems, search_routes
from wordsight.web.rounded_json import RoundedJSON
from wordsight.web.security import AccessPolicy, SecurityMiddleware
from wordsight.web.state import Library

DESCRIPTION = """\
Search a folder of pictures by sentence or by picture, and see why each picture was found.

Every hit has its words: the strength of each, whether it counts as found, and its best region.
Errors are `application/problem+json`; their `detail` says the value, the limit and the next step.
Filters, pages and engines are the same everywhere. No request is stored.
"""
TAGS = [
    {
        "name": "search",
        "description": "Pictures for a sentence or a picture, sentences for a picture.",
    },
    {"name": "reasons", "description": "Explanations of scores."},
    {"name": "items", "description": "Contents of the index."},
    {"name": "health", "description": "Health and metrics of the server."},
]
STATIC = resources.files("wordsight.web").joinpath("static")
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def create_app(
    images: Searcher | None, texts: Searcher | None = None, policy: AccessPolicy | None = None
) -> FastAPI:
    """Build the app. The default ``policy`` admits only this machine, under its own names.

    Raises InputError without any index.
    """
    if images is None and texts is None:
        raise InputError("nothing to serve; give an index of pictures, an index of texts, or both")
    policy = policy or AccessPolicy()
    library = Library(images, texts, policy)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(library.load_vision())
        yield
        loading.cancel()
        library.close()

    app = FastAPI(
        title="wordsight",
        version=version("wordsight"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # these pages would load scripts of other sites
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=RoundedJSON,
        lifespan=lifespan,
    )
    app.state.library = library
    app.add_middleware(SecurityMiddleware, policy=policy, metrics=library.metrics)
    routers = (search_routes.router, item_routes.router, desktop_routes.router)
    for router in routers:
        app.include_router(router)
    _serve_page(app)
    problems.install(app, [*routers, app.router])
    app.openapi = lambda: _described(app, policy)  # type: ignore[method-assign]
    return app


def _serve_page(app: FastAPI) -> None:
    """Serve each file of the page under its own name, and index.html as "/"; all are read once."""
    for file in STATIC.iterdir():
        if (media := MEDIA.get(PurePath(file.name).suffix)) is not None:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            app.add_api_route(path, _sender(file.read_bytes(), media), include_in_schema=False)


def _sender(data: bytes, media: str) -> Any:
    async def send() -> Response:
        return Response(data, media_type=f"{media}; charset=utf-8", headers={"cache-control": "no-cache"})

    return send


def _described(app: FastAPI, policy: AccessPolicy) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            servers=[{"url": policy.root_path}] if policy.root_path else None,
        )
        _name_problems(schema)
        if policy.token is not None:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def _name_problems(schema: dict[str, Any]) -> None:
    """Replace the framework's schemas of errors by Problem."""
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    reference = "#/components/schemas/{model}"
    problem = problems.Problem.model_json_schema(ref_template=reference)
    schemas |= problem.pop("$defs", {})
    schemas["Problem"] = problem
