"""Several processes: the loss and the gradients equal those of one process that holds the whole batch.

Run by torchrun as a program, it writes what each process found; see ``main``.
"""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_problem import DIM, SETTINGS, share_ranked_first, small_matcher, small_pairs
from torch import Tensor

from wordsight.encode.pool import MeanPool, pooled
from wordsight.learn.consistency import Consistency
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.processes import Processes
from wordsight.learn.projection import Projection
from wordsight.learn.training import fit
from wordsight.pairs import PairBatch
from wordsight.runtime.device import training_device
from wordsight.sets import Regions
from wordsight.similarity.label_agreement import Semantic

PLAIN = replace(SETTINGS, drop_regions=0.0, drop_words=0.0, batch_size=7, drop_last=False, epochs=2)


def whole_batch() -> PairBatch:
    """Seven pairs whose images have from one to three regions: the shares differ in pairs and in regions."""
    pairs = small_pairs()
    rows = [0, 2, 3, 10, 11, 20, 30]
    images: Regions = pairs.images.read(pairs.image_of[rows].tolist())
    images = replace(images, mask=torch.arange(3) < torch.tensor([1, 1, 1, 3, 2, 3, 2])[:, None])
    texts = small_matcher().tokenizer(["red", "blue", "pink", *(pairs.texts[row] for row in rows[3:])])
    wrong = small_matcher().tokenizer(["red blue", "pink", "red green", "blue", "white brown"])
    return PairBatch(images, texts, pairs.text_identities[rows], torch.eye(7)[:, :2], negative_texts=wrong)


def share(batch: PairBatch, processes: Processes) -> PairBatch:
    """One process's part, its padding cut off, as if it had been read alone."""
    rows = list(processes.share(range(len(batch))))
    images, texts = batch.images[rows], batch.texts[rows]
    assert isinstance(images, Regions)
    regions, words = int(images.mask.sum(1).max()), int(texts.mask.sum(1).max())
    images = Regions(images.features[:, :regions], None, images.mask[:, :regions])
    texts = replace(texts, ids=texts.ids[:, :words], mask=texts.mask[:, :words])
    assert batch.labels is not None
    assert batch.negative_texts is not None
    wrong = batch.negative_texts[list(processes.share(range(5)))]
    return PairBatch(images, texts, batch.identities[rows], batch.labels[rows], negative_texts=wrong)


def encoded(processes: Processes, device: torch.device) -> dict[str, Tensor]:
    """Everything a loss may see, the loss, and the averaged gradients of matcher and loss."""
    matcher, loss = small_matcher(dropout=0.0), Consistency(InfoNCE(0.1, learn_temperature=True)).double()
    matcher.similarity = Semantic(DIM, 2)  # the same weights in every process: drawn after the matcher's
    matcher, loss = matcher.double().to(device), loss.to(device)
    batch = share(whole_batch(), processes).to(device)
    assert isinstance(batch.images, Regions)
    batch = replace(batch, images=replace(batch.images, features=batch.images.features.double()))
    pairs = processes.encode(matcher, batch)
    whole = replace(pairs, images=pooled(pairs.images, MeanPool()), texts=pooled(pairs.texts, MeanPool()))
    classes = Projection(cmpc=1.0, classes=20, dim=DIM).double().to(device)
    value = loss(pairs) + classes(whole)
    value.backward()
    weights = dict(matcher.named_parameters()) | dict(loss.named_parameters())
    weights |= dict(classes.named_parameters())
    processes.average_gradients(weights.values())
    gradients = {
        f"gradient.{name}": weight.grad for name, weight in weights.items() if weight.grad is not None
    }
    assert pairs.labels is not None
    assert pairs.label_logits is not None
    return {
        "loss": value.detach(),
        "scores": pairs.scores.detach(),
        "mask": pairs.texts.mask,
        "identities": pairs.identities,
        "labels": pairs.labels,
        "label_logits": pairs.label_logits.detach(),
    } | gradients


def trained(folder: Path, device: str) -> dict[str, Tensor]:
    """The weights, and those of a run in which texts share their image."""
    weights: dict[str, Tensor] = {}
    for name, together in (("alone", 1), ("sharing", 2)):
        matcher, pairs = small_matcher(dropout=0.0), small_pairs()
        settings = replace(PLAIN, texts_per_image=together, device=device)
        loss = InfoNCE(0.1, learn_temperature=True, mask_matches=True)
        fit(matcher, loss, pairs, settings, folder / name, share_ranked_first(pairs))
        weights |= {f"trained.{name}.{key}": weight for key, weight in matcher.state_dict().items()}
    return weights


def main(folder: Path, name: str) -> None:
    """What torchrun runs: every process writes its view."""
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO)
    device = training_device(name)
    processes = Processes.join(device)
    found = encoded(processes, device)
    torch.manual_seed(processes.rank)
    found |= trained(folder / "run", name)
    save_file({key: tensor.cpu().contiguous() for key, tensor in found.items()}, folder / f"{processes.rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                torch.cuda.device_count() < 2,
                reason=f"NCCL needs two GPUs of CUDA; torch sees {torch.cuda.device_count()} here",
            ),
        ),
    ],
)
def test_two_processes_equal_one(device: str, tmp_path: Path) -> None:
    """By gloo on processors, by NCCL on GPUs."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*launch, __file__, str(tmp_path), device]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr
    alone: dict[str, Any] = encoded(Processes(), torch.device(device))
    alone |= trained(tmp_path / "one", device)
    alone = {name: tensor.cpu() for name, tensor in alone.items()}
    for rank in ("0", "1"):
        found = load_file(tmp_path / rank)
        assert found.keys() == alone.keys()
        for name, tensor in found.items():
            close = (
                {"rtol": 0, "atol": 1e-9} if not name.startswith("trained") else {"rtol": 1e-4, "atol": 1e-5}
            )
            torch.testing.assert_close(
                tensor, alone[name], **close, msg=lambda told, name=name: f"{name}: {told}"
            )
    first, second = load_file(tmp_path / "0"), load_file(tmp_path / "1")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert done.stderr.count("epoch 1/2") == 2  # once for each run: only the first process speaks
    assert {path.name for path in (tmp_path / "run" / "alone").iterdir()} >= {
        "last",
        "best",
        "log.jsonl",
        "run.json",
    }


def test_the_shares_cover_the_batch_in_order() -> None:
    for world in (1, 2, 3, 4):
        shares = [Processes(rank, world).share(range(10)) for rank in range(world)]
        assert [row for part in shares for row in part] == list(range(10))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_exchanged() -> None:
    alone = Processes.join()
    assert alone == Processes()
    assert alone.tell("facts") == "facts"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
