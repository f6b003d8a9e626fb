"""Route that shows a picture on the server's own screen, for the person in front of it: /v1/items/{id}/show.

Nothing but a picture below the roots is opened, and only for a page of this server on the same machine.
"""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from wordsight.errors import InputError
from wordsight.web.desktop import Where, show_file, shows_files
from wordsight.web.item_routes import InPathId, picture_file, picture_media
from wordsight.web.problems import Refused, responses
from wordsight.web.security import is_loopback
from wordsight.web.state import Library, Served

router = APIRouter()
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")  # headers that a proxy adds


class Show(BaseModel):
    """Where to show a picture."""

    model_config = ConfigDict(extra="forbid")

    where: Where = Field(description="`viewer`: the system's viewer; `folder`: the file manager.")


@router.post(
    "/v1/items/{id:int}/show",
    tags=["items"],
    operation_id="show",
    status_code=204,
    responses=responses(403, 404, 409, 410, 415, 422),
)
async def show(library: Served, request: Request, id: InPathId, how: Show) -> Response:
    """Open a picture with the system's viewer or in the file manager, on the machine of the server.

    The server must listen on this machine alone and have a screen, and the request must come from this
    machine: from a program, or from the server's own page.
    """
    _check_sender(library, request)
    stored, file = await library.draw(picture_file, library, id)
    await library.draw(picture_media, stored, file)  # no program, whatever its name is
    try:
        await library.draw(show_file, file, how.where)
    except InputError as error:
        raise Refused(409, "not-shown", str(error)) from error
    return Response(status_code=204)


def _check_sender(library: Library, request: Request) -> None:
    """Raise Refused unless the sender is on this machine, and no page of another server."""
    headers, client = request.headers, request.client
    if not shows_files(library.policy):
        message = "This server opens no files: it does not listen on this machine alone, or has no screen."
        raise Refused(403, "not-local", message)
    if client is None or not is_loopback(client.host) or any(name in headers for name in FORWARDED):
        raise Refused(403, "not-local", "Files are opened only for requests from the server's own machine.")
    own = f"http://{headers.get('host', '')}"
    if headers.get("sec-fetch-site", "same-origin") != "same-origin" or headers.get("origin", own) != own:
        raise Refused(403, "cross-site", "This request is from another page; open this server's own page.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "content-type", "Send the body as application/json.")
