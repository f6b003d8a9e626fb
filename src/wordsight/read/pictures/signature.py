"""The first bytes of a file -> whether it is a picture, for files whose names have no suffix."""

import os
import re
from pathlib import Path

from wordsight.read.pictures.heic import BRANDS

HEAD = 12  # bytes
SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|BM....\0\0\0\0|\0\0\0\x0cjP  ",
    re.DOTALL,
)


def has_picture_signature(path: str | Path | bytes) -> bool:
    """Whether a regular file begins as a picture does; False for what cannot be read."""
    try:
        if not os.path.isfile(path):  # opening a pipe would wait for ever
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:] in (*BRANDS, b"avif", b"avis")
    return SIGNATURES.match(head) is not None
