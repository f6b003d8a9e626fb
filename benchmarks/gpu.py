"""Everything that a GPU is for, in one run of at most eight minutes: equal first, then fast; one JSON.

    python benchmarks/gpu.py --out gpu.json [--device cuda] [--budget 480] [--only equality all_pairs]
    python benchmarks/gpu.py --rehearse --out rehearsal.json

The sections (gpu_sections.py) come most important first. Each has a limit of seconds and runs in a process
that a failure or the limit ends; the error is written in its place, and the next goes on in a new process.
The file is written after every number. --rehearse runs every section at tiny sizes on the processor, by
Triton's interpreter, so that the script works where there is a GPU; its times say nothing.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import IO, Any

BUDGET = 480.0  # seconds
LEAST = 5.0  # seconds; with less, a section is not begun
START = 60.0  # seconds that a process may take until it is ready
PATIENCE = 20  # times as long may a rehearsal take, on a processor that others use
LIMITS = {  # seconds of each section
    "facts": 30, "equality": 90, "all_pairs": 90, "training_step": 60, "tf32": 20, "tiles": 60, "search": 60,
    "compile": 90, "processes": 60, "all_programs": 180,
}  # fmt: skip
TARGETS = {  # section, number in it, and the most that it may be
    "all pairs, certified ranks: seconds": ("all_pairs", "max_sim certified_ranks", 0.4),
    "training step: share of the dense layout's time": ("training_step", "max_sim hardest float32 time", 0.1),
    "training step: share of the dense layout's memory": (
        "training_step",
        "max_sim hardest float32 memory",
        0.1,
    ),
}


class Worker:
    """A process that runs sections and sends a line of JSON for each number."""

    def __init__(self, device: str, rehearse: bool) -> None:
        environment = os.environ | ({"TRITON_INTERPRET": "1"} if rehearse else {})
        command = [sys.executable, __file__, "--worker", "--device", device]
        self.process = subprocess.Popen(
            [*command, *(["--rehearse"] if rehearse else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def run(self, section: str, seconds: float) -> Iterator[tuple[str, Any]]:
        """Its numbers by name, then "error" if it did not come to its end."""
        assert self.process.stdin is not None
        ends = monotonic() + seconds
        try:
            self.process.stdin.write(section + "\n")
            self.process.stdin.flush()
            while True:
                line = self.lines.get(timeout=max(0.01, ends - monotonic()))
                if not line:
                    yield "error", f"the process ended with status {self.process.wait()}"
                    return
                name, value = json.loads(line)
                if name == "done":
                    return
                yield name, value
        except queue.Empty:
            yield "error", f"not done in {seconds:.0f} seconds"
        except OSError as error:
            yield "error", str(error)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All sections, or those that are named."""
    patience = PATIENCE if options.rehearse else 1
    began, found = monotonic(), dict[str, Any](device=options.device, rehearsal=options.rehearse)
    worker: Worker | None = None
    for section, limit in LIMITS.items():
        if options.only and section not in options.only:
            continue
        left = patience * options.budget - (monotonic() - began)
        numbers = found[section] = dict[str, Any]()
        if left < LEAST:
            numbers["error"] = f"no time left of {options.budget:.0f} seconds"
            continue
        fresh, began_section = worker is None, monotonic()
        worker = worker or Worker(options.device, options.rehearse)
        for name, value in worker.run(section, min(left, patience * (limit + (START if fresh else 0)))):
            numbers[name] = value
            write(options.out, found)
        numbers["seconds"] = round(monotonic() - began_section, 2)
        if "error" in numbers:
            worker.close()
            worker = None
        found["seconds"] = round(monotonic() - began, 2)
        found["aims"] = aims(found)
        write(options.out, found)
    if worker is not None:
        worker.close()
    return found


def aims(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was reached of the aims; only a GPU says that."""
    if found["rehearsal"]:
        return {}
    reached = {name: found.get(section, {}).get(key) for name, (section, key, _) in TARGETS.items()}
    return {
        name: {"at most": TARGETS[name][2], "reached": value, "met": value <= TARGETS[name][2]}
        for name, value in reached.items()
        if value is not None
    }


def write(out: Path | None, found: dict[str, Any]) -> None:
    """The file is the old one or the new one, whenever the power goes."""
    if out is not None:
        unfinished = out.with_name(f".{out.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(found, indent=1) + "\n")
        unfinished.replace(out)


def serve_sections(device: str, rehearse: bool, lines: IO[str], answers: IO[str]) -> None:
    """The worker: names of sections in, a line for each number out."""
    from gpu_sections import SECTIONS, Run, prepared

    def say(name: str, value: Any) -> None:
        answers.write(json.dumps([name, value]) + "\n")
        answers.flush()

    made: Run | None = None
    for line in lines:
        try:
            made = made or prepared(device, rehearse)
            for name, value in SECTIONS[line.strip()](made):
                say(name, value)
        except Exception as error:
            say("error", f"{type(error).__name__}: {error}"[:2000])
        say("done", None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the JSON to write; else stdout, at the end")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of the whole run")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), help="these sections")
    parser.add_argument("--rehearse", "--smoke", action="store_true", help="tiny sizes, on the processor")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rehearse:
        options.device = "cpu"
    if options.worker:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever else is printed goes to stderr
        serve_sections(options.device, options.rehearse, sys.stdin, answers)
        return
    found = run(options)
    if options.out is None:
        print(json.dumps(found, indent=1))
    failed = [name for name, numbers in found.items() if isinstance(numbers, dict) and "error" in numbers]
    if failed:
        sys.exit(f"not measured to the end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
