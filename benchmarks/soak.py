"""A server under mixed requests for long -> whether its memory stays flat: the curve, and the growth.

    python benchmarks/soak.py INDEX [--clients 4] [--warm-up 2000] [--requests 20000] [--limit 2]

INDEX is any index of pictures; it is copied, never changed. The server is ``wordsight serve`` on this
machine's loopback; each client is a process with one connection, which sends one request after another:
sentences of every length, queries of words with operators, pictures like a picture, thumbnails, explanations,
lists and folders. No two clients send the same sequence, and few requests are sent twice.

Growth is that of the resident set at rest, from the end of the warm-up to the end of all requests. The pages
that belong to no file are reported apart: those of libraries and of the index come and go with the system's
cache. The server runs the model's export where there is one; ``WORDSIGHT_WITHOUT_TORCH=0`` in the environment
makes it run torch. The exit code is 1 if it is over the limit (percent), or if a request failed.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from made_index import captions
from measuring import anonymous, resident
from serving import client, server

from wordsight.search.calibrate_index import calibrate
from wordsight.search.index.index import Index
from wordsight.search.relevance.null_scores import spread_rows

SHARES = {"search": 40, "words": 15, "similar": 10, "thumbnail": 15, "explain": 10, "items": 8, "folders": 2}
MOST_WORDS = 24  # of a sentence
REST_SECONDS = 12  # after a phase; a server gives freed memory back every 10 s
LAST_SAMPLES = 5  # whose median is the resident set at the end of a phase
CURVE_POINTS = 20
MOST_SECONDS = 7200


@dataclass(frozen=True)
class Traffic:
    """What clients may ask about: the words of the index's captions, and its items."""

    words: Sequence[str]
    ids: Sequence[int]

    def requests(self, seed: int, count: int) -> Iterator[tuple[str, str]]:
        """Kind and path of each request."""
        draws = random.Random(seed)
        kinds = draws.choices(list(SHARES), list(SHARES.values()), k=count)
        return ((kind, self._path(kind, draws)) for kind in kinds)

    def _path(self, kind: str, draws: random.Random) -> str:
        text = " ".join(draws.choices(self.words, k=draws.randint(1, MOST_WORDS)))
        some = draws.sample(self.words, 3)
        id_, page = draws.choice(self.ids), {"k": draws.randint(1, 60), "offset": draws.randint(0, 100)}
        return {
            "search": f"/v1/search?{urlencode({'query': text} | page)}",
            "words": f"/v1/search?{urlencode({'query': f'{some[0]} +{some[1]} -{some[2]}'} | page)}",
            "similar": f"/v1/similar?{urlencode({'id': id_} | page)}",
            "thumbnail": f"/v1/items/{id_}/thumbnail?size={draws.choice((320, 640))}",
            "explain": f"/v1/explain?{urlencode({'query': text, 'id': id_})}",
            "items": f"/v1/items?{urlencode(page | {'text': some[0]} if draws.random() < 0.5 else page)}",
            "folders": "/v1/folders",
        }[kind]


def traffic_of(index: Index) -> Traffic:
    with index.snapshot() as snapshot:
        items = snapshot.items(spread_rows(len(snapshot), 2000))
    texts = [item.text for item in items if item.text] or captions(200, seed=1)
    words = sorted(
        {bare for text in texts for word in text.split() if (bare := word.strip(".,;:!?'\"()-+^"))}
    )
    return Traffic(sorted(words), [item.id for item in items])


def one_client(port: int, traffic: Traffic, seed: int, count: int) -> Counter[tuple[str, int]]:
    """How many requests of each kind got each status (0: none)."""
    answered = client(port, traffic.requests(seed, count), count, time.monotonic() + MOST_SECONDS)
    return Counter((kind, status) for kind, status, _ in answered)


def phase(
    port: int, process: int, traffic: Traffic, clients: int, count: int, first_seed: int
) -> tuple[list[float], Counter[tuple[str, int]], float]:
    """MB of the server, once a second; the statuses; seconds."""
    began, memory = time.monotonic(), list[float]()
    with ProcessPoolExecutor(clients) as pool:
        running = [
            pool.submit(one_client, port, traffic, first_seed + n, -(-count // clients))
            for n in range(clients)
        ]
        while not all(one.done() for one in running):
            time.sleep(1)
            memory.append(resident(process))
        statuses = sum((one.result() for one in running), Counter[tuple[str, int]]())
    took = time.monotonic() - began
    time.sleep(REST_SECONDS)
    for _ in range(LAST_SAMPLES):
        time.sleep(0.2)
        memory.append(resident(process))
    return memory, statuses, took


def report(name: str, memory: Sequence[float], statuses: Counter[tuple[str, int]], seconds: float) -> int:
    """Print a phase; the number of requests that failed."""
    count = statuses.total()
    points = [memory[len(memory) * n // CURVE_POINTS] for n in range(CURVE_POINTS)] + memory[-1:]
    failed = sum(number for (_, status), number in statuses.items() if status != 200)
    print(f"{name}: {count:,} requests in {seconds:.0f} s ({count / seconds:.1f}/s), {failed} failed")
    print(f"  server's memory, MB: {' '.join(f'{mb:.0f}' for mb in points)}", flush=True)
    for (kind, status), number in sorted(statuses.items()):
        if status != 200:
            print(f"  {kind}: {number} times status {status}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--warm-up", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--limit", type=float, default=2.0, help="percent that memory may grow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        shutil.copytree(options.index, folder)
        index = Index.open(folder)
        calibrate(index)
        traffic = traffic_of(index)
        roots = ["--root", "/"]  # the copy is nobody's: its pictures are shown all the same
        with server(folder, *roots) as (port, process):
            warm = phase(port, process, traffic, options.clients, options.warm_up, first_seed=0)
            failed = report("warm-up", *warm)
            anonymous_before = anonymous(process)
            soak = phase(port, process, traffic, options.clients, options.requests, first_seed=1000)
            failed += report("soak", *soak)
            anonymous_after = anonymous(process)
    start, end = (median(memory[-LAST_SAMPLES:]) for memory, *_ in (warm, soak))
    growth = 100 * (end / start - 1)
    print(f"growth: {start:.1f} -> {end:.1f} MB, {growth:+.2f} % (limit {options.limit} %)")
    print(f"  of them of no file: {anonymous_before:.1f} -> {anonymous_after:.1f} MB")
    if growth >= options.limit or failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
