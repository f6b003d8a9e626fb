"""The user's own folder for what wordsight remembers between runs and can make again."""

import hashlib
import os
from pathlib import Path

from wordsight.files.index_folder import META


def cache_folder() -> Path:
    """WORDSIGHT_CACHE, or wordsight/ in the user's folder for what can be made again."""
    own = os.environ.get("WORDSIGHT_CACHE")
    general = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(general) if general else Path.home() / ".cache") / "wordsight"


def cached_index_folder(pictures: Path) -> Path:
    """Folder of the indexes of these pictures, with one folder in it for each model."""
    path = os.path.abspath(pictures)
    stamp = hashlib.blake2b(os.fsencode(path), digest_size=6).hexdigest()
    return cache_folder() / "indexes" / f"{os.path.basename(path)[:40]}-{stamp}"


def cached_indexes(pictures: Path) -> list[Path]:
    """Folders of the indexes of these pictures that are there, the one used last at the end."""
    described = sorted(cached_index_folder(pictures).glob(f"*/{META}"), key=os.path.getmtime)
    return [path.parent for path in described]
