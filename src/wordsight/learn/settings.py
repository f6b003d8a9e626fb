"""The [training] table in; checked settings of one training run out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from wordsight.errors import InputError
from wordsight.registry import instantiate
from wordsight.registry.limits import (
    Count,
    Limits,
    NotNegative,
    OneOf,
    Positive,
    PositiveShare,
    Share,
    ShareBelowOne,
    Whole,
)
from wordsight.registry.settings import check_fields

Choice: TypeAlias = Literal["auto"] | bool
Group: TypeAlias = float | int | Mapping[str, Any]  # a learning-rate factor, or a table of a WeightGroup


@dataclass(frozen=True)
class WeightGroup:
    """How some weights are trained in their own way; with milestones or every, on their own schedule."""

    factor: float = 1.0  # of the learning rate; 0 freezes
    weight_decay: float | None = None  # by default that of all weights
    milestones: Sequence[int] = ()  # epochs (from 0) at which the learning rate is multiplied by decay
    every: Whole = 0  # the same after each so many epochs
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

    epochs: Count = 25  # one epoch visits every text once
    start_from: str = ""  # wordsight train: a trained model whose weights and vocabulary the run starts with
    first_epoch: Whole = 0  # the epoch that a run starts with; schedules and warm-ups count on from there
    batch_size: Annotated[int, Limits(2)] = 128  # pairs per batch, over all processes together
    accumulate: Count = 1  # batches per step; negatives still come from within each batch
    parallel_batches: bool = False
    """On a CPU, the batches of a step are computed at once, each on a thread of its own: for small networks,
    which gain little from several threads per product. The result has the bits of one thread. Networks
    must have no dropout and no batch norm; with a GPU or torchrun it changes nothing."""
    drop_last: bool = True  # leave out the last batch of an epoch when it is short (never the only one)
    distinct_images: bool = False  # no two pairs of one image or identity in a batch: no false negatives
    texts_per_image: Count = 1
    """So many texts of an image come together, and it is read, changed and encoded once for all of them: that
    saves most of the time where the image encoder is what takes it. They are each other's negatives unless
    the loss has ``mask_matches``."""
    drop_regions: ShareBelowOne = 0.0  # size augmentation: the share of regions left out of each image
    drop_words: ShareBelowOne = 0.0  # size augmentation: the share of words masked, replaced or left out
    swap_words: Share = 0.0
    """The share of texts of which a copy with something wrong joins the batch, as a negative of every image:
    another colour, number, size, side, person or thing, or two that change places (learn/swap_words.py)."""
    drop_specials: bool = False  # <start> and <end> may be among them (CHAN's BiGRU runs)

    flip_pictures: Share = 0.0  # the share of pictures mirrored left to right (CMPL: 0.5)
    crop_pictures: PositiveShare = 1.0  # pixels only: the least share of each side that is shown, enlarged
    crop_area: PositiveShare = 1.0  # or of the area, in any shape from 3:4 to 4:3 (RandomResizedCrop)

    optimizer: Annotated[str, OneOf("adamw", "adam", "sgd", "muon")] = "adamw"
    """With muon, small networks learn in half as many steps."""
    matrix_rate: Positive = 0.02  # muon: the rate of matrices; that of other weights is learning_rate
    learning_rate: Positive = 5e-4
    weight_decay: NotNegative = 0.01  # adamw: decoupled; adam and sgd: added to the gradient (L2)
    betas: Sequence[float] = (0.9, 0.999)  # of adam and adamw; sgd takes the first as its momentum
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Weights by the start of their name -> learning-rate factor, or the table of a WeightGroup; the longest
    start wins. {"text_encoder.bert": 0.1} trains BERT ten times slower, a factor of 0 freezes. The weights
    of the loss are called "loss...."."""
    eps: Positive = 1e-8  # of adam and adamw: added to the root of the squared gradients
    frozen_epochs: Mapping[str, int] = field(default_factory=dict)
    """Weights by the start of their name -> for how many epochs they stay as they are, their batch norms in
    evaluation mode; the longest start wins. {"image_encoder.backbone": 15} trains in two stages (CMPL)."""
    clip: NotNegative = 2.0  # longest gradient, as the norm over all weights; 0 = any length
    clip_groups: bool = False  # as the norm over each of the groups, and over the rest (CASC)

    schedule: Annotated[str, OneOf("constant", "step", "cosine")] = "step"
    milestones: Sequence[int] = (15,)  # step: epochs (from 0) at which factor multiplies the learning rate
    factor: NotNegative = 0.1  # step: what it is multiplied by; cosine: what is left of it at the end
    warmup_steps: Whole = 0  # the learning rate grows linearly over so many steps
    loss_ramp_epoch: Whole | None = None
    """In this epoch (from 0) batch i of n counts i / n: VSE-infinity after its CNN is set free."""

    precision: Annotated[str, OneOf("float32", "bf16", "auto")] = "auto"
    """bf16 computes encoders and scores in bfloat16 where that is safe (autocast); weights, loss and
    optimizer stay float32. auto takes bf16 on a GPU that has it, and on a CPU where a probe finds it clearly
    faster; the decision stands in run.json, and a resumed run repeats it."""
    ema: ShareBelowOne = 0.0  # decay of the running average of the weights, which is validated; 0 = none
    ema_only: Sequence[str] = ()  # average only weights whose names start so (CMPL: not the LSTM)
    compile: Choice = "auto"
    """true compiles the encoders with torch.compile, false does not. auto compiles those that the first batch
    shows to gain clearly, on a GPU of CUDA where Triton and a C compiler are installed, in runs that are long
    enough to earn it back; the decision stands in run.json, and a resumed run repeats it."""

    validate_every: Count = 1  # epochs; the last epoch is always validated
    patience: Whole = 0  # stop after so many validations without a better rsum; 0 = never
    checkpoint_every: Whole = 0  # steps; 0 = at the end of each epoch only
    log_every: Count = 10  # steps per line of the log
    calibrate: bool = True  # at the end, fit the probabilities of the best model (docs/trust.md)
    calibration_pictures: Annotated[int, Limits(100)] = (
        10_000  # training pictures they are fitted on, at most
    )

    device: str = "auto"  # auto = the GPU if there is one; else cpu, cuda, cuda:1, mps (docs/gpu.md)
    seed: Annotated[int, Limits(0)] = 0
    """Order, augmentation and dropout are functions of seed, epoch, batch and process."""
    workers: Whole = 1  # threads that read images ahead; 0 = none, read between the steps
    prefetch: Count = 2  # batches kept ready

    def __post_init__(self) -> None:
        check_fields(self, "[training]")
        first, last = self.first_epoch, self.epochs
        _expect(
            first < last, "first_epoch", first, f"less than epochs = {last}; raise epochs to train further"
        )
        one = self.crop_pictures == 1 or self.crop_area == 1
        _expect(
            one, "crop_area", self.crop_area, f"1, since crop_pictures = {self.crop_pictures} cuts already"
        )
        several = self.accumulate > 1 or not self.parallel_batches
        _expect(several, "accumulate", self.accumulate, "at least 2 where parallel_batches = true")
        alone = self.texts_per_image == 1 or not self.distinct_images
        _expect(alone, "texts_per_image", self.texts_per_image, "1, since distinct_images keeps them apart")
        frozen = dict(self.frozen_epochs)
        _expect(min(frozen.values(), default=0) >= 0, "frozen_epochs", frozen, "epochs, 0 or more")
        _expect(self.ema > 0 or not self.ema_only, "ema", self.ema, "more than 0 where ema_only is set")
        for prefix, group in self.groups.items():
            WeightGroup.of(prefix, group)
        rising = list(self.milestones) == sorted(set(self.milestones))
        _expect(rising, "milestones", list(self.milestones), "epochs that rise, each once")


def _expect(fine: bool, name: str, value: Any, expected: str) -> None:
    if not fine:
        raise InputError(f"[training] {name} = {value!r}; expected {expected}")
