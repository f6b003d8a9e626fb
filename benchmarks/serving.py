"""Many clients at once at a server of its own: requests a second, latencies, errors, memory over time.

    python benchmarks/serving.py INDEX [--clients 1 4 16] [--requests 300] [--minutes 10] [--samples 12]
    python benchmarks/serving.py --make 400 [--regions 5] [--dim 256]

INDEX is any index of pictures; it is copied, never changed. The server is ``wordsight serve`` on this
machine's loopback, in a process of its own; so are the clients, and each keeps one connection and asks one
thing after another: of ten requests seven are sentences, one asks for pictures like a picture, one for an
explanation, one for the list of items. ``--requests`` is how many each number of clients sends in all;
``--minutes`` goes on for so long instead. Memory is the server's resident set, sampled so often: read whether
it still grows at the end. Client and server share the processors.
"""

import argparse
import http.client
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import torch
from made_index import captions, make_index
from measuring import resident

from wordsight.search.calibrate_index import calibrate
from wordsight.search.index.index import Index
from wordsight.search.relevance.null_scores import spread_rows

TIMEOUT = 60  # seconds that a client waits for an answer
MOST_CLIENTS = 64
Answered = tuple[str, int, float]  # what was asked, the status (0: none), seconds


def paths_of(index: Index, count: int = 200) -> list[tuple[str, str]]:
    """What is asked, by kind."""
    with index.snapshot() as snapshot:
        items = snapshot.items(spread_rows(len(snapshot), count))
    texts = [text for item in items if (text := item.text.split("\n")[0].strip())] or captions(count, seed=1)
    draws, asked = random.Random(0), []
    for _ in range(count):
        kind = draws.choices(("search", "similar", "explain", "items"), (7, 1, 1, 1))[0]
        text = {"query": '"{}"'.format(draws.choice(texts).replace('"', " "))}
        item = {"id": draws.choice(items).id}
        given = {"search": text, "similar": item, "explain": text | item, "items": {"k": 20}}[kind]
        asked.append((kind, f"/v1/{kind}?{urlencode(given)}"))
    return asked


def client(port: int, asked: Iterable[tuple[str, str]], most: int, until: float) -> list[Answered]:
    """One connection; ``until`` is of the system's monotonic clock."""
    answered, asked = [], iter(asked)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    while len(answered) < most and time.monotonic() < until:
        kind, path = next(asked)
        began, status = time.perf_counter(), 0
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request opens it again
        answered.append((kind, status, time.perf_counter() - began))
    connection.close()
    return answered


def drawn_client(
    port: int, asked: Sequence[tuple[str, str]], most: int, until: float, seed: int
) -> list[Answered]:
    """A client that draws its requests."""
    draws = random.Random(seed)
    return client(port, (draws.choice(asked) for _ in itertools.count()), most, until)


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[int, int]]:
    """The port, and the process."""
    command = [sys.executable, "-m", "wordsight", "serve", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        for line in process.stderr:
            told += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                break
        else:
            raise SystemExit(f"the server did not start:\n{told}")
        # Whoever reads no warnings of slow requests stops the server: a pipe holds 64 kB of them.
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
        try:
            yield int(found[1]), process.pid
        finally:
            process.send_signal(signal.SIGINT)


def load(
    port: int, process: int, asked: Sequence[tuple[str, str]], clients: int, options: argparse.Namespace
) -> None:
    began, memory = time.monotonic(), [resident(process)]
    seconds = 60 * options.minutes if options.minutes else 600
    most = 10**9 if options.minutes else -(-options.requests // clients)
    with ProcessPoolExecutor(clients) as pool:
        until = began + seconds
        running = [pool.submit(drawn_client, port, asked, most, until, seed) for seed in range(clients)]
        while not all(one.done() for one in running):
            time.sleep(min(1.0, seconds / 200))
            memory.append(resident(process))
        took = time.monotonic() - began
        answered = [one for done in running for one in done.result()]
    print(line(clients, answered, took))
    for kind in sorted({kind for kind, *_ in answered}):
        print(line(f"- {kind}", [one for one in answered if one[0] == kind], took))
    chosen = [memory[len(memory) * n // options.samples] for n in range(options.samples)] + memory[-1:]
    print(f"\nserver's memory, MB, over {took:.0f} s: {' '.join(f'{mb:.0f}' for mb in chosen)}\n", flush=True)


def line(name: object, answered: Sequence[Answered], seconds: float) -> str:
    times = sorted(1000 * took for *_, took in answered)
    at = [f"{times[min(len(times) - 1, int(share * len(times)))]:.1f}" for share in (0.5, 0.95, 0.99)]
    errors = sum(status != 200 for _, status, _ in answered)
    rate = len(answered) / seconds
    return f"| {name} | {len(answered)} | {rate:.1f} | {' | '.join(at)} | {times[-1]:.1f} | {errors} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path, nargs="?")
    parser.add_argument("--make", type=int, metavar="N", help="an index of N made-up pictures instead")
    parser.add_argument("--regions", type=int, default=5)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--minutes", type=float, help="so long for each number of clients")
    parser.add_argument("--samples", type=int, default=12, help="of the server's memory, that are shown")
    options = parser.parse_args()
    if (options.index is None) == (options.make is None):
        parser.error("give the folder of an index, or --make N")
    if not all(1 <= clients <= MOST_CLIENTS for clients in options.clients):
        parser.error(f"--clients from 1 to {MOST_CLIENTS}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        if options.make:
            make_index(folder, options.make, options.regions, options.dim)
        else:
            shutil.copytree(options.index, folder)
        index = Index.open(folder)
        calibrate(index)
        asked = paths_of(index)
        with server(folder) as (port, process):
            drawn_client(port, asked, 20, time.monotonic() + 120, seed=99)  # what is kept is made
            for clients in options.clients:
                heads = ["clients", "requests", "a second", "p50 ms", "p95", "p99", "max_length", "errors"]
                print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
                load(port, process, asked, clients, options)


if __name__ == "__main__":
    main()
