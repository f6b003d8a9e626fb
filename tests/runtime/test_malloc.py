"""What is freed is kept: large tensors, made again and again, cost few new pages."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
FAULTS = """
import resource, torch
from wordsight.runtime.malloc import keep_freed_memory
kept = keep_freed_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(kept, pages())
"""


def run(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")} | environment,
    )
    kept, pages = done.stdout.split()
    return kept, int(pages)


def test_a_tensor_of_64_mb_made_anew_needs_few_new_pages() -> None:
    kept, pages = run()
    assert kept == "True"
    assert 4 * pages < run(MALLOC_TRIM_THRESHOLD_="131072")[1]  # what they cost otherwise


def test_what_the_environment_says_of_the_allocator_is_left_alone() -> None:
    assert run(MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
