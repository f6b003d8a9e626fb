"""Response class of the REST interface: JSON with rounded numbers, as on the command line."""

from typing import Any

from fastapi.responses import JSONResponse

from wordsight.files.json_text import to_json
from wordsight.files.undecodable import shown


class RoundedJSON(JSONResponse):
    """An answer whose floats are rounded (``to_json``); names that are not UTF-8 as a terminal shows them."""

    def render(self, content: Any) -> bytes:
        return shown(to_json(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))).encode()
