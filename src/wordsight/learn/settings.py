"""The [training] table in; checked settings of one training run out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wordsight.errors import InputError
from wordsight.registry import instantiate

Group: TypeAlias = float | int | Mapping[str, Any]  # a learning-rate factor, or a table of a WeightGroup


@dataclass(frozen=True)
class WeightGroup:
    """How some weights are trained in their own way; with milestones or every, on their own schedule."""

    factor: float = 1.0  # of the learning rate; 0 freezes
    weight_decay: float | None = None  # by default that of all weights
    milestones: Sequence[int] = ()  # epochs (from 0) at which the learning rate is multiplied by decay
    every: int = 0  # the same after each so many epochs
    decay: float = 0.1

    def __post_init__(self) -> None:
        if self.every and self.milestones:
            raise InputError(f"every = {self.every} and milestones = {list(self.milestones)}: give only one")

    @classmethod
    def of(cls, prefix: str, group: Group) -> "WeightGroup":
        if not isinstance(group, Mapping):
            return cls(float(group))
        made: WeightGroup = instantiate(cls, f'[training] groups."{prefix}":', group)
        return made

    def share(self, epoch: int) -> float | None:
        """Share of the learning rate left in an epoch; None if the schedule is that of all weights."""
        if self.every:
            return self.decay ** (epoch // self.every)
        return self.decay ** sum(epoch >= at for at in self.milestones) if self.milestones else None


@dataclass(frozen=True)
class Training:
    """How long, how fast and on what a matcher is trained; the defaults are those of CHAN.

    A *batch* is the pairs that are each other's negatives. With several processes it is shared out among
    them and scored as one, so the number of processes changes nothing but the speed. A *step* is one change
    of the weights; it takes ``accumulate`` batches.
    """

    epochs: int = 25  # one epoch visits every text once
    start_from: str = ""  # wordsight train: a trained model whose weights and vocabulary the run starts with
    first_epoch: int = 0  # the epoch that a run starts with; schedules and warm-ups count on from there
    batch_size: int = 128  # pairs per batch, over all processes together
    accumulate: int = 1  # batches per step; negatives still come from within each batch
    parallel_batches: bool = False
    """On a CPU, the batches of a step are computed at once, each on a thread of its own: for small networks,
    which gain little from several threads per product. The result has the bits of one thread. Networks
    must have no dropout and no batch norm; with a GPU or torchrun it changes nothing."""
    drop_last: bool = True  # leave out the last batch of an epoch when it is short (never the only one)
    distinct_images: bool = (
        False  # no two pairs of one image (of one identity) in a batch: no false negatives
    )
    texts_per_image: int = 1
    """So many texts of an image come together, and it is read, changed and encoded once for all of them: that
    saves most of the time where the image encoder is what takes it. They are each other's negatives unless
    the loss has ``mask_matches``."""
    drop_regions: float = 0.0  # size augmentation: the share of regions left out of each image
    drop_words: float = 0.0  # size augmentation: the share of words masked, replaced or left out
    drop_specials: bool = False  # <start> and <end> may be among them (CHAN's BiGRU runs)

    flip_pictures: float = 0.0  # pixels only: the share of pictures mirrored left to right (CMPL: 0.5)
    crop_pictures: float = 1.0  # pixels only: the least share of each side that is shown, enlarged
    crop_area: float = 1.0  # or of the area, in any shape from 3:4 to 4:3 (torchvision's RandomResizedCrop)

    optimizer: str = "adamw"  # or "adam", "sgd", "muon": small networks learn in half as many steps
    matrix_rate: float = 0.02  # muon: the learning rate of matrices; that of other weights is learning_rate
    learning_rate: float = 5e-4
    weight_decay: float = 0.01  # adamw: decoupled; adam and sgd: added to the gradient (L2)
    betas: Sequence[float] = (0.9, 0.999)  # of adam and adamw; sgd takes the first as its momentum
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Weights by the start of their name -> learning-rate factor, or the table of a WeightGroup; the longest
    start wins. {"text_encoder.bert": 0.1} trains BERT ten times slower, a factor of 0 freezes. The weights
    of the loss are called "loss...."."""
    eps: float = 1e-8  # of adam and adamw: added to the root of the squared gradients
    frozen_epochs: Mapping[str, int] = field(default_factory=dict)
    """Weights by the start of their name -> for how many epochs they stay as they are, their batch norms in
    evaluation mode; the longest start wins. {"image_encoder.backbone": 15} trains in two stages (CMPL)."""
    clip: float = 2.0  # longest gradient, as the norm over all weights; 0 = any length
    clip_groups: bool = False  # as the norm over each of the groups, and over the rest (CASC)

    schedule: str = "step"  # or "constant", "cosine"
    milestones: Sequence[int] = (
        15,
    )  # step: epochs (from 0) at which the learning rate is multiplied by factor
    factor: float = 0.1  # step: what it is multiplied by; cosine: what is left of it at the end
    warmup_steps: int = 0  # the learning rate grows linearly over so many steps
    loss_ramp_epoch: int | None = None
    """In this epoch (from 0) batch i of n counts i / n: VSE-infinity after its CNN is set free."""

    precision: str = "auto"  # or "float32", "bf16"
    """bf16 computes encoders and scores in bfloat16 where that is safe (autocast); weights, loss and
    optimizer stay float32. auto takes bf16 on a GPU that has it, and on a CPU where a probe finds it clearly
    faster; the decision stands in run.json, and a resumed run repeats it."""
    ema: float = 0.0  # decay of the running average of the weights, which is what is validated; 0 = none
    ema_only: Sequence[str] = ()  # average only weights whose names start so (CMPL: not the LSTM)
    compile: bool = False  # compile the encoders with torch.compile

    validate_every: int = 1  # epochs; the last epoch is always validated
    patience: int = 0  # stop after so many validations without a better rsum; 0 = never
    checkpoint_every: int = 0  # steps; 0 = at the end of each epoch only
    log_every: int = 10  # steps per line of the log
    calibrate: bool = True  # at the end, fit the probabilities of the best model (docs/trust.md)

    device: str = "auto"  # auto = the GPU if there is one; else cpu, cuda, cuda:1
    seed: int = 0  # order, augmentation and dropout are functions of seed, epoch, batch and process
    workers: int = 1  # threads that read images ahead; 0 = none, read between the steps
    prefetch: int = 2  # batches kept ready

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            _expect(getattr(self, name) >= least, name, getattr(self, name), f"at least {least}")
        first, last = self.first_epoch, self.epochs
        _expect(
            first < last, "first_epoch", first, f"less than epochs = {last}; raise epochs to train further"
        )
        for name in ("drop_regions", "drop_words", "ema"):
            _expect(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 up to, but not including, 1")
        _expect(0 <= self.flip_pictures <= 1, "flip_pictures", self.flip_pictures, "0 to 1")
        for name in ("crop_pictures", "crop_area"):
            _expect(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, up to 1")
        one = self.crop_pictures == 1 or self.crop_area == 1
        _expect(
            one, "crop_area", self.crop_area, f"1, since crop_pictures = {self.crop_pictures} cuts already"
        )
        for name, known in _CHOICES.items():
            _expect(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        several = self.accumulate > 1 or not self.parallel_batches
        _expect(several, "accumulate", self.accumulate, "at least 2 where parallel_batches = true")
        alone = self.texts_per_image == 1 or not self.distinct_images
        _expect(alone, "texts_per_image", self.texts_per_image, "1, since distinct_images keeps them apart")
        _expect(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        _expect(self.matrix_rate > 0, "matrix_rate", self.matrix_rate, "more than 0")
        _expect(self.eps > 0, "eps", self.eps, "more than 0")
        frozen, ramp = dict(self.frozen_epochs), self.loss_ramp_epoch
        _expect(min(frozen.values(), default=0) >= 0, "frozen_epochs", frozen, "epochs, 0 or more")
        _expect(ramp is None or ramp >= 0, "loss_ramp_epoch", ramp, "an epoch, from 0")
        _expect(self.ema > 0 or not self.ema_only, "ema", self.ema, "more than 0 where ema_only is set")
        for prefix, group in self.groups.items():
            WeightGroup.of(prefix, group)
        rising = list(self.milestones) == sorted(set(self.milestones))
        _expect(rising, "milestones", list(self.milestones), "epochs that rise, each once")


_AT_LEAST: dict[str, float] = {
    "epochs": 1, "first_epoch": 0, "batch_size": 2, "accumulate": 1, "texts_per_image": 1, "weight_decay": 0,
    "clip": 0, "factor": 0, "warmup_steps": 0, "validate_every": 1, "patience": 0, "checkpoint_every": 0,
    "log_every": 1, "seed": 0, "workers": 0, "prefetch": 1,
}  # fmt: skip
_CHOICES = {
    "optimizer": ("adamw", "adam", "sgd", "muon"),
    "schedule": ("constant", "step", "cosine"),
    "precision": ("float32", "bf16", "auto"),
}


def _expect(fine: bool, name: str, value: Any, expected: str) -> None:
    if not fine:
        raise InputError(f"[training] {name} = {value!r}; expected {expected}")
