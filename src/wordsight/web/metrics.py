"""Metrics of requests in Prometheus' text format."""

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

BUCKET_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
MEDIA = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts by route, method and status, and a histogram of seconds by route."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = defaultdict(float)

    def record(self, route: str, method: str, status: int, seconds: float) -> None:
        with self._lock:
            self._requests[route, method, status] += 1
            self._buckets.setdefault(route, [0] * (len(BUCKET_SECONDS) + 1))[
                bisect_left(BUCKET_SECONDS, seconds)
            ] += 1
            self._seconds[route] += seconds

    def text(self, gauges: Mapping[str, tuple[str, str, int]]) -> str:
        """All metrics as text; ``gauges``: name -> (type, help, value) of other metrics."""
        with self._lock:
            lines = [*self._counted(), *self._timed()]
        for name, (kind, help_text, value) in gauges.items():
            lines += _head(name, kind, help_text)
            lines.append(f"{name} {value}")
        return "\n".join(lines) + "\n"

    def _counted(self) -> Iterator[str]:
        yield from _head("wordsight_requests_total", "counter", "Requests that were answered.")
        for (route, method, status), count in sorted(self._requests.items()):
            labels = f'route="{_quoted(route)}",method="{_quoted(method)}",status="{status}"'
            yield f"wordsight_requests_total{{{labels}}} {count}"

    def _timed(self) -> Iterator[str]:
        name = "wordsight_request_seconds"
        yield from _head(name, "histogram", "Seconds from a request's head to the end of its answer.")
        for route, counts in sorted(self._buckets.items()):
            label, below = f'route="{_quoted(route)}"', 0
            for bound, count in zip(
                (*(f"{bound:g}" for bound in BUCKET_SECONDS), "+Inf"), counts, strict=True
            ):
                below += count
                yield f'{name}_bucket{{{label},le="{bound}"}} {below}'
            yield f"{name}_sum{{{label}}} {self._seconds[route]:.6f}"
            yield f"{name}_count{{{label}}} {below}"


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _quoted(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
