"""Damaged files for every reader -> each is read or refused in one sentence, or the case is told by number.

    python benchmarks/fuzz_readers.py [--cases 100000] [--seed 0] [--reader NAME] [--only NUMBER]

A case takes a small whole file of one format and changes it: bits, bytes, numbers, lines, parts doubled
or cut off, and pieces that readers trip over. The reader must return, or raise a WordsightError or an OSError
of one line. It must not run anything, connect anywhere, write beside its folder, take a gigabyte, or take
longer than ``SECONDS``. A case depends on its seed and number alone, so that ``--only`` repeats it.
"""

import argparse
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from reader_targets import Target, targets

from wordsight.errors import WordsightError

SECONDS = 5.0  # of processor time
MEMORY = 1 << 30  # bytes that one case may take
RUNS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
    "socket.connect",
)
PIECES = [
    b"\x00", b"\xff", b"\n", b"\r\n", b"\t", b'"', b",", b"{", b"[", b"}" * 50, b"[" * 5000,
    b"{\"a\":" * 3000,
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-1", b"0", b"null", b"true", b"\\u0000", b"\\ud800",
    b"\xed\xa0\x80", b"../../x", b"/etc/passwd", b"os:system", b"%n%s", b"\xef\xbb\xbf", b"\xff\xfe",
    (2**31 - 1).to_bytes(4, "little"), (2**63 - 1).to_bytes(8, "little"), b"\xff" * 8, b"\x80\x04",
    b"cos\nsystem\n(S'touch pwned'\ntR.", b"<!ENTITY a \"b\">", b"SQLite format 3\x00",
]  # fmt: skip


class TooLongError(BaseException):
    """A reader that has not come to an end; nothing that it catches."""


def changed(whole: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four changes."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        near = min(len(data), draw.choice((64, 512, len(data) or 1)))  # headers matter most
        at = draw.randrange(near + 1)
        size = draw.choice((1, 1, 4, 16, 200))
        way = draw.randrange(8)
        if way == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif way == 1:
            data[at : at + size] = draw.randbytes(size)
        elif way == 2:
            del data[at : at + size]
        elif way == 3:
            del data[at:]
        elif way == 4:
            data[at:at] = data[at : at + size * 5]
        elif way == 5:
            data[at:at] = draw.choice(PIECES)
        elif way == 6:
            piece = draw.choice(PIECES)
            data[at : at + len(piece)] = piece
        else:
            _change_number(data, draw)
    return bytes(data)


def _change_number(data: bytearray, draw: random.Random) -> None:
    """Another number, or something else, in place of one that is written in digits."""
    places = [place for place, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if places:
        at = draw.choice(places)
        odd = (
            b"-1",
            b"0",
            b"99999999999999999999",
            b"1e9",
            b"1.5",
            b'"x"',
            b"null",
            b"[1]",
            b"NaN",
            b"4294967296",
        )
        data[at : at + 1] = draw.choice(odd)


class Guard:
    """What readers must not do, noted while one of them is at work."""

    def __init__(self) -> None:
        self.home, self.active, self.seen = "", False, ""
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in RUNS:
            self.seen = event
        if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[1], str):
            writes = any(letter in arguments[1] for letter in "wax+")
            if writes and not arguments[0].startswith((self.home, tempfile.gettempdir(), "/dev/")):
                self.seen = f"writes {arguments[0]}"


@cache
def guard_of_process() -> Guard:
    """The only one: Python never takes an audit hook back."""
    return Guard()


def run(target: Target, data: bytes, folder: Path, guard: Guard) -> str | None:
    """What went wrong in a case, in one line; None if nothing did."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if target.around is not None:
        shutil.copytree(target.around, folder, dirs_exist_ok=True)
    path = folder / target.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    guard.active, guard.seen = True, ""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(path)
    except TooLongError as error:
        return f"takes more than {SECONDS:.0f} s at {place_of(error)}"
    except WordsightError as error:
        if "\n" in str(error).strip() or len(str(error)) > 2000:
            return f"says more than a sentence: {type(error).__name__} at {place_of(error)}"
    except OSError:
        pass
    except BaseException as error:
        return f"raises {type(error).__name__} at {place_of(error)}: {str(error)[:120]!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        guard.active = False
    return f"does {guard.seen}" if guard.seen else None


def place_of(error: BaseException) -> str:
    """File and line of the last place in wordsight."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "/wordsight/" in frame.filename]
    return f"{places[-1].filename.split('/wordsight/')[-1]}:{places[-1].lineno}" if places else "outside"


def fuzz(
    home: Path,
    cases: range,
    seed: int = 0,
    reader: str | None = None,
    limit_memory: bool = True,
    say: Callable[[str], None] = str,
    leave_out: Sequence[str] = (),
    known: Mapping[str, Target] | None = None,
) -> tuple[Counter[str], dict[str, str]]:
    """Cases by reader, and the first case of each way in which one went wrong.

    ``known`` are the whole files of an earlier call, ``targets(folder)``; by default they are written anew.
    """
    if known is None:
        (home / "wholes").mkdir()
        known = targets(home / "wholes")
    names = sorted(known.keys() - set(leave_out)) if reader is None else [reader]
    guard, counts, wrong = guard_of_process(), Counter[str](), dict[str, str]()
    guard.home = str(home)
    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGPROF, _too_long)
    try:
        if limit_memory:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, before[1]))
        for number in cases:
            name = names[number % len(names)]
            draw = random.Random(f"{seed} {number}")
            target = known[name]
            problem = run(target, changed(draw.choice(target.wholes), draw), home / "case", guard)
            counts[name] += 1
            if problem is not None:
                place, _, detail = problem.partition(": ")
                way = f"{name}: {place}"
                if way not in wrong:
                    wrong[way] = f"{detail}  (--seed {seed} --only {number})".strip()
                    say(f"{way}\n    {wrong[way]}")
            if number % 5000 == 4999:
                say(f"{number + 1 - cases.start:,} cases")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, old)
    return counts, wrong


def _too_long(*_: object) -> None:
    raise TooLongError


def _address_space() -> int:
    """Bytes of address space that this process has."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader")
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    cases = range(given.cases) if given.only is None else range(given.only, given.only + 1)
    with tempfile.TemporaryDirectory() as folder:
        counts, wrong = fuzz(Path(folder), cases, given.seed, given.reader, say=partial(print, flush=True))
    spent = time.process_time() - started
    print(
        f"{sum(counts.values()):,} cases of {len(counts)} readers, {len(wrong)} ways to fail, {spent:.0f} s"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
