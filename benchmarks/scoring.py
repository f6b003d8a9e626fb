"""All-pairs scoring against the dense layout: time, memory, and ranks that must be identical.

    python benchmarks/scoring.py [--quick] [--device cuda] [--data random] [--threads 1] [--rounds 3]

1,000 images x 36 regions x 1,024 numbers against 5,000 texts of 5 to 25 words. Every variant runs in a
process of its own, in interleaved rounds; medians. Read the ratios of CPU seconds on a shared machine.
"""

import argparse
import hashlib
import json

import torch
from dense import sharded_scores, sorted_ranks
from measuring import in_own_process, measured, medians

from wordsight.sets import EmbeddingSet
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.ranking.exact import rank_matches

VARIANTS = {
    "dense": "dense layout, float32 scores",
    "scores": "wordsight, float32 scores",
    "float32": "wordsight, float32 ranks",
    "int8": "wordsight, int8 ranks, certified",
}
REGIONS, DIM, SHORTEST, LONGEST, PER_IMAGE = 36, 1024, 5, 25, 5


def make(data: str, images: int, device: str) -> tuple[EmbeddingSet, EmbeddingSet, torch.Tensor]:
    """Images, five texts for each, and the image of each text.

    "random": zero-mean noise, no signal. "clustered": every image shows 12 of 5,000 concepts, three noisy
    regions each; a text names concepts of its image, and a quarter of its words others; as after training.
    """
    torch.manual_seed(0)
    texts = images * PER_IMAGE
    lengths = torch.randint(SHORTEST, LONGEST + 1, (texts, 1))
    mask = torch.arange(LONGEST) < lengths
    image_of = torch.arange(texts) // PER_IMAGE
    vectors = torch.randn(images, REGIONS, DIM)
    words = torch.randn(texts, LONGEST, DIM)
    if data == "clustered":
        concepts = torch.randn(5000, DIM)
        shown = torch.randint(5000, (images, 12))
        vectors.mul_(1.2).add_(concepts[shown.repeat(1, 3)])
        named = shown[image_of].gather(1, torch.randint(12, (texts, LONGEST)))
        other = torch.randint(5000, named.shape)
        words.mul_(1.6).add_(concepts[torch.where(torch.rand(named.shape) < 0.25, other, named)])
    whole = torch.ones(images, REGIONS, dtype=torch.bool)
    return EmbeddingSet(vectors, whole).to(device), EmbeddingSet(words, mask).to(device), image_of.to(device)


def run(variant: str, data: str, images: int, device: str) -> dict[str, object]:
    pictures, texts, image_of = make(data, images, device)
    similarity, own = MaxSim(), torch.arange(images, device=device)
    few = pictures[:8], texts[:40]
    rank_matches(similarity, *few, own[:8], image_of[:40], "int8")  # chooses its products
    if variant == "dense":
        scores, took = measured(lambda: sharded_scores(pictures, texts), device)
        ranks = sorted_ranks(scores, image_of)
    elif variant == "scores":
        scores, took = measured(lambda: similarity(pictures, texts), device)
        ranks = sorted_ranks(scores, image_of)
    else:
        ranks, took = measured(
            lambda: rank_matches(similarity, pictures, texts, own, image_of, variant), device
        )
    recall = {
        f"R@1 {way}": float((rank < 1).float().mean() * 100)
        for way, rank in zip(("i2t", "t2i"), ranks, strict=True)
    }
    both = torch.cat([rank.cpu() for rank in ranks]).numpy()
    return {**took, **recall, "ranks": hashlib.sha256(both.tobytes()).hexdigest()[:12]}


def table(results: dict[str, dict[str, object]]) -> str:
    lines = [
        "| variant | CPU s | wall s | faster (CPU, wall) | extra MB | of the dense | R@1 i2t, t2i | ranks |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    base = results["dense"]
    for name, result in results.items():
        faster = ", ".join(f"{base[clock] / result[clock]:.2f} x" for clock in ("cpu", "wall"))
        lines.append(
            f"| {VARIANTS[name]} | {result['cpu']:.2f} | {result['wall']:.2f} | {faster} | "
            f"{result['extra_mb']:.0f} | {result['extra_mb'] / base['extra_mb']:.2f} | "
            f"{result['R@1 i2t']:.2f}, {result['R@1 t2i']:.2f} | {result['ranks']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="150 images, one round")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--data", choices=["random", "clustered"], action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", choices=list(VARIANTS), help="this one only, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = 150 if options.quick else options.images
    kinds = options.data or ["clustered", "random"]
    if options.variant:
        print(json.dumps(run(options.variant, kinds[0], images, options.device)))
        return
    for data in kinds:
        rounds: dict[str, list[dict[str, object]]] = {name: [] for name in VARIANTS}
        for _ in range(1 if options.quick else options.rounds):
            for name in VARIANTS:
                settings = {"variant": name, "data": data, "images": images, "device": options.device}
                arguments = [f"--{key}={value}" for key, value in settings.items()]
                rounds[name].append(in_own_process(__file__, [*arguments, f"--threads={options.threads}"]))
        print(f"\n{data} data, {images} images, {images * PER_IMAGE} texts, {options.threads} threads\n")
        print(table({name: {**each[-1], **medians(each)} for name, each in rounds.items()}))


if __name__ == "__main__":
    main()
