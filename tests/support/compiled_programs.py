"""Each program that a GPU would be given for real sizes, compiled without a GPU; run as a process of its own.

    python compiled_programs.py 90 [score_program ...]

Prints one JSON line per program: its name, the type of its vectors, the bytes of shared memory it takes, the
bytes that its threads spill from registers, whether it uses tensor cores.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels import fused, fused_attention
from wordsight.similarity.max_sim import MaxSim

TYPES = {
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.uint8: "u8",
}
LAUNCH = {"num_warps", "num_stages"}
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def calls() -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Programs with their arguments in bfloat16 training and scoring: 36 regions, 25 words, 1,024 numbers."""
    found: list[Any] = []

    def noted(program: Any, grid: Any, rows: Any, *arguments: Any, **sizes: Any) -> bool:
        found.append((program, arguments, sizes))
        return True

    torch.manual_seed(0)
    images, texts = (
        EmbeddingSet(torch.randn(8, items, 1024, requires_grad=True), torch.ones(8, items, dtype=torch.bool))
        for items in (36, 25)
    )
    with (
        patch.object(fused, "can_fuse", lambda *sets: True),
        patch.object(fused_attention, "can_fuse", lambda *sets: True),
        patch.object(fused, "launch", noted),
        patch.object(fused_attention, "launch", noted),
    ):
        for similarity in (MaxSim(), CrossAttention()):
            with torch.autocast("cpu", torch.bfloat16):
                similarity(images, texts).sum().backward()
                with torch.no_grad():
                    similarity(images, texts)
    yield from found


def built(program: Any, arguments: tuple[Any, ...], sizes: dict[str, Any], capability: int) -> Any:
    names = program.arg_names
    given = dict(zip(names, arguments, strict=False))
    constants = {(names.index(name),): value for name, value in sizes.items() if name not in LAUNCH}
    signature = {name: kind(given[name]) if name in given else "constexpr" for name in names}
    aligned = {
        (names.index(name),): [["tt.divisibility", 16]]
        for name, value in given.items()
        if torch.is_tensor(value) or (isinstance(value, int) and value % 16 == 0)
    }
    source = ASTSource(program, signature, constants, aligned)
    options = {name: sizes[name] for name in LAUNCH & sizes.keys()}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def kind(value: Any) -> str:
    return "*" + TYPES[value.dtype] if torch.is_tensor(value) else "i32" if isinstance(value, int) else "fp32"


def spilled(cubin: bytes) -> int:
    """Bytes of the stack that each thread needs for what its registers cannot hold."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run(
            [str(TOOL), "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    return int(usage.stdout.partition("STACK:")[2].split()[0])


def main(capability: int, *names: str) -> None:
    done = set()
    for program, arguments, sizes in calls():
        vectors = kind(arguments[0])
        key = program.__name__, vectors, str(sorted(sizes.items()))
        if key in done or (names and program.__name__ not in names):
            continue
        done.add(key)
        made = built(program, arguments, sizes, capability)
        facts = {
            "program": program.__name__,
            "vectors": vectors,
            "shared": made.metadata.shared,
            "spilled": spilled(made.asm["cubin"]),
            "tensor_cores": "mma" in made.asm["ptx"],
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
