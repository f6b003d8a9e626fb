"""python command_without_torch.py ARGUMENTS: the command wordsight where torch cannot be imported."""

import subprocess
import sys
from pathlib import Path

from support.search_answers import Blocked


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What the command answers in a process that cannot import torch or transformers."""
    command = [sys.executable, "-m", "support.command_without_torch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())

    from wordsight.cli.main import main

    main()
