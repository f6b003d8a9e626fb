"""Reading and training a network from pixels: freed memory kept for the next tensor, against given back.

    python benchmarks/freed_memory.py [--model FOLDER] [--threads 1] [--rounds 3]

A vision network that transformers loads (by default the MobileNetV2 of ``WORDSIGHT_DATA``): 64 pictures of
224 pixels encoded, 16 at a time; and 4 steps of training with 32 pictures of 128 pixels. Each variant runs in
a process of its own, in interleaved rounds; medians of CPU seconds, and of them the system's.
"""

import argparse
import json
import os
from pathlib import Path
from statistics import median

import torch
from measuring import in_own_process

from wordsight.pretrained.models import load_vision
from wordsight.runtime.malloc import keep_freed_memory

DATA = Path(os.environ.get("WORDSIGHT_DATA", "../shared/data"))
VARIANTS = {"given back": "glibc's default", "kept": "wordsight"}
TASKS = ("encode", "train")


def run(task: str, variant: str, model: str) -> dict[str, float]:
    if variant == "kept" and not keep_freed_memory():
        raise SystemExit("this C library, or the environment, does not let freed memory be kept")
    torch.manual_seed(0)
    network = load_vision(Path(model)).to(memory_format=torch.channels_last)
    act = encode if task == "encode" else train
    act(network, 1)  # what is made once
    before = os.times()
    act(network, 4)
    after = os.times()
    return {"user": after.user - before.user, "system": after.system - before.system}


@torch.no_grad()
def encode(network: torch.nn.Module, times: int) -> None:
    network.eval()
    for _ in range(times):
        network(pixel_values=torch.rand(16, 3, 224, 224))


def train(network: torch.nn.Module, times: int) -> None:
    network.train().requires_grad_()
    for _ in range(times):
        network(pixel_values=torch.rand(32, 3, 128, 128)).last_hidden_state.square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=str(DATA / "weights" / "mobilenet_v2_1.0_224"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--variant", choices=list(VARIANTS), help="this one only, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.variant:
        print(json.dumps(run(options.task, options.variant, options.model)))
        return
    print("| task | freed memory | CPU s | of them the system's | faster |\n|---|---|---|---|---|")
    for task in TASKS:
        compare(task, options)


def compare(task: str, options: argparse.Namespace) -> None:
    given = [f"--task={task}", f"--model={options.model}", f"--threads={options.threads}"]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name in VARIANTS:
            rounds[name].append(in_own_process(__file__, [*given, f"--variant={name}"]))
    base = 0.0
    for name, told in VARIANTS.items():
        user, system = (median(each[part] for each in rounds[name]) for part in ("user", "system"))
        base = base or user + system
        faster = f"{base / (user + system):.2f} x"
        print(f"| {task} | {name} ({told}) | {user + system:.2f} | {system:.2f} | {faster} |", flush=True)


if __name__ == "__main__":
    main()
