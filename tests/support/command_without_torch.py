"""python command_without_torch.py ARGUMENTS: the command wordsight where torch cannot be imported.

Without arguments it reads a JSON list of command lines, and answers each in the same process.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.search_answers import Blocked

PROGRAM = [sys.executable, "-m", "support.command_without_torch"]
TESTS = Path(__file__).parents[1]


class Answer(NamedTuple):
    """Exit code and texts of a command."""

    code: int
    out: str
    err: str


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What the command answers in a process that cannot import torch or transformers."""
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, cwd=TESTS)


def all_without_torch(commands: Sequence[Sequence[object]]) -> list[Answer]:
    """Answers of many commands, one after the other in one such process."""
    lines = json.dumps([[str(word) for word in words] for words in commands])
    done = subprocess.run(PROGRAM, input=lines, capture_output=True, text=True, cwd=TESTS)
    assert done.returncode == 0, done.stderr
    return [Answer(*one) for one in json.loads(done.stdout)]


def _answer(main: Any, words: list[str]) -> Answer:
    out, err, code = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO()), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = int(end.code or 0)
    for stream in (out, err):
        stream.seek(0)
    return Answer(code, out.read(), err.read())


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())

    from wordsight.cli.main import main

    if len(sys.argv) > 1:
        main()
    else:
        print(json.dumps([_answer(main, words) for words in json.load(sys.stdin)]))
