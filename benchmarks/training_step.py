"""One training step of the similarity and its loss, forward and backward, against the dense layout.

    python benchmarks/training_step.py [--quick] [--device cuda] [--threads 1] [--rounds 3] [--batch 128 384]

Pairs of 36 regions and 5 to 25 words, 1,024 numbers each. "hardest": the triplet loss with the hardest
negatives, "dense": InfoNCE, which gives every pair a gradient. Every variant runs in a process of its own,
in interleaved rounds; medians. The gradients of both are compared with those of the dense layout in float64,
on a part of the batch: length of the difference over length. Memory is what a step takes beside its inputs.
"""

import argparse
import json
from collections.abc import Callable

import torch
from dense import dense_scores, unit
from measuring import in_own_process, measured, medians
from torch import Tensor

from wordsight.sets import EmbeddingSet
from wordsight.similarity.max_sim import MaxSim

REGIONS, DIM, SHORTEST, LONGEST = 36, 1024, 5, 25
NAMES = {"dense": "dense layout", "wordsight": "wordsight"}
Score = Callable[[EmbeddingSet, EmbeddingSet], Tensor]


def hardest(scores: Tensor) -> Tensor:
    """The triplet loss, margin 0.2, hardest negatives."""
    right = scores.diagonal()
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    wrong = scores.masked_fill(own, -torch.inf)
    texts = (0.2 + wrong.amax(1) - right).clamp_min(0)
    return (texts + (0.2 + wrong.amax(0) - right).clamp_min(0)).sum()


def dense(scores: Tensor) -> Tensor:
    """InfoNCE at temperature 0.05."""
    pairs = torch.arange(len(scores), device=scores.device)
    logits = scores / 0.05
    return torch.nn.functional.cross_entropy(logits, pairs) + torch.nn.functional.cross_entropy(
        logits.T, pairs
    )


LOSSES = {"hardest": hardest, "dense": dense}


def make(pairs: int, device: str) -> tuple[EmbeddingSet, EmbeddingSet]:
    torch.manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (pairs, 1))
    lengths[0] = LONGEST
    images, texts = torch.randn(pairs, REGIONS, DIM), torch.randn(pairs, LONGEST, DIM)
    texts += 0.02 * images[:, :LONGEST]  # pairs share a little: the loss is far from zero
    whole = torch.ones(pairs, REGIONS, dtype=torch.bool)
    mask = torch.arange(LONGEST) < lengths
    return EmbeddingSet(images, whole).to(device), EmbeddingSet(texts, mask).to(device)


def step(score: Score, loss: str, images: EmbeddingSet, texts: EmbeddingSet) -> list[Tensor]:
    leaves = [side.vectors.detach().requires_grad_() for side in (images, texts)]
    LOSSES[loss](score(EmbeddingSet(leaves[0], images.mask), EmbeddingSet(leaves[1], texts.mask))).backward()
    return [leaf.grad for leaf in leaves]


def layout(images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    return dense_scores(unit(images), unit(texts))


def run(variant: str, loss: str, pairs: int, device: str) -> dict[str, float]:
    images, texts = make(pairs, device)
    score: Score = layout if variant == "dense" else MaxSim()
    step(score, loss, images[:8], texts[:8])  # chooses its products
    _, took = measured(lambda: step(score, loss, images, texts), device)
    return took


def disagreement(score: Score, loss: str, device: str) -> float:
    """Of the gradients with those of the dense layout in float64, for 32 pairs."""
    images, texts = make(32, device)
    ours = step(score, loss, images, texts)
    exact = [EmbeddingSet(side.vectors.double(), side.mask) for side in (images, texts)]
    truth = step(layout, loss, *exact)
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, truth, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="64 pairs, one round")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 384])
    parser.add_argument("--loss", choices=list(LOSSES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", choices=list(NAMES), help="wordsight alone can do the batches that the dense cannot"
    )
    parser.add_argument("--variant", choices=list(NAMES), help="one measurement, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.variant:
        print(json.dumps(run(options.variant, options.loss, options.batch[0], options.device)))
        return
    print("| batch | loss | variant | CPU s | wall s | faster (CPU, wall) | extra MB | of the dense |")
    print("|---|---|---|---|---|---|---|---|")
    for pairs in [64] if options.quick else options.batch:
        for loss in [options.loss] if options.loss else LOSSES:
            compare(pairs, loss, options)
    for loss in LOSSES:
        ours, theirs = (disagreement(score, loss, options.device) for score in (MaxSim(), layout))
        print(
            f"\n{loss}: gradients differ from float64's by {ours:.1e} (dense layout in float32: {theirs:.1e})"
        )


def compare(pairs: int, loss: str, options: argparse.Namespace) -> None:
    names = [options.only] if options.only else list(NAMES)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(1 if options.quick else options.rounds):
        for name in names:
            settings = {"variant": name, "loss": loss, "batch": pairs, "device": options.device}
            arguments = [f"--{key}={value}" for key, value in settings.items()]
            rounds[name].append(in_own_process(__file__, [*arguments, f"--threads={options.threads}"]))
    results = {name: medians(each) for name, each in rounds.items()}
    base = results[names[0]]
    for name, took in results.items():
        faster = ", ".join(f"{base[clock] / took[clock]:.2f} x" for clock in ("cpu", "wall"))
        print(
            f"| {pairs} | {loss} | {NAMES[name]} | {took['cpu']:.2f} | {took['wall']:.2f} | {faster} | "
            f"{took['extra_mb']:.0f} | {took['extra_mb'] / base['extra_mb']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
