"""The user's own folder for what wordsight remembers between runs and can make again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """WORDSIGHT_CACHE, or wordsight/ in the user's folder for what can be made again."""
    own = os.environ.get("WORDSIGHT_CACHE")
    general = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(general) if general else Path.home() / ".cache") / "wordsight"
