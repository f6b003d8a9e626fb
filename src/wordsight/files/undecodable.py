"""Text with names of files that are not UTF-8 -> bytes that can be written, text that can be shown.

Python holds each byte of such a name as a lone surrogate ("M\\udcfcnchen.png" is Latin-1), which no encoder
writes. Files that must find their pictures again hold the exact bytes; pages show U+FFFD, as a terminal does.
"""

import json
from typing import Any


def exact_bytes(text: str) -> bytes:
    """The bytes of a name as the file system has them; half of a character, which is no byte, becomes "?"."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def from_exact(content: bytes) -> str:
    """The text that ``exact_bytes`` wrote."""
    return content.decode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """The text with U+FFFD for every byte that is not UTF-8."""
    return text if text.isascii() else exact_bytes(text).decode("utf-8", "replace")


def json_bytes(value: Any, **how: Any) -> bytes:
    """JSON in UTF-8; one with names that are not UTF-8 is written with escapes, which every reader undoes."""
    try:
        return json.dumps(value, ensure_ascii=False, **how).encode()
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, **how).encode()
