"""Pictures -> boxes of the things in them, by a pretrained detector; what they hold, a backbone reads.

A detector is a model that transformers loads for object detection (RT-DETR, D-FINE, YOLOS, DETR: a hub name
or a folder), or a YOLOX as its authors export it to ONNX (a file; needs onnxruntime). It sees the whole
picture, squashed to its own size. Detectors that find what phrases name are in ``prompted_detectors``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.files.atomic import link_or_copy
from wordsight.files.fingerprint import content_of
from wordsight.pretrained.models import find_model, load_detector, model_files, weight_files
from wordsight.pretrained.prompted import FILES, SUPPORTED, prompted_family
from wordsight.read.pictures import preprocessor_config
from wordsight.read.pictures.candidates import Candidates, corners
from wordsight.read.pictures.onnx_session import ONNX, open_session, run_session
from wordsight.read.pictures.phrases import EXAMPLES, check_detector_name, phrases_of
from wordsight.read.pictures.pixel_reader import FrameReader, PixelReader, PreparedPicture
from wordsight.tensors import Tensor, torch

SAME = 0.6  # of the union: boxes that share more show the same thing, and only the surer one stays
THIN = 0.02  # of the picture's side: a thinner box shows nothing
MOST_CANDIDATES = 400  # the surest boxes that enter non-maximum suppression
STRIDES = (8, 16, 32)  # pixels between the cells of YOLOX's three maps


class Detections(NamedTuple):
    """The things that a detector finds, at most so many a picture, the surest first."""

    boxes: Float[Tensor, "image box 4"]  # left, top, right, bottom; fractions of the picture
    found: Bool[Tensor, "image box"]  # False where there are fewer
    chances: Float[Tensor, "image box kind"]


@runtime_checkable
class Detector(Protocol):
    """A network that finds things in pictures, which ``pixels`` prepares for it."""

    phrases: tuple[str, ...]  # what the kinds are called, of a detector that was told
    threshold: float  # candidates that are less sure are nothing

    @property
    def pixels(self) -> FrameReader: ...

    @property
    def identity(self) -> str: ...

    @property
    def kind_count(self) -> int: ...

    def candidates(self, frames: Sequence[PreparedPicture]) -> Candidates: ...
    def to(self, device: torch.device) -> None: ...
    def save(self, home: Path) -> str: ...


def open_detector(
    name: str, detect: str | Sequence[str] | None = None, threshold: float | None = None
) -> Detector:
    """A hub name, a folder, or a YOLOX in a file that ends in .onnx. Raises MissingModel, ValueError.

    ``detect``, ``threshold``: of a detector that is prompted with text, see ``phrases_of``.
    """
    check_detector_name(name, detect)
    folder = None if name.endswith(ONNX) else find_model(name, files=(*preprocessor_config.FILES, *FILES))
    family = None if folder is None else prompted_family(folder)
    if folder is not None and family is not None:
        from wordsight.read.pictures.prompted_detectors import GroundingDetector, OwlDetector

        kind = GroundingDetector if family.reads_one_text else OwlDetector
        return kind(folder, family, phrases_of(detect), threshold)
    if detect is not None or threshold is not None:
        raise InputError(
            f"{name} finds the things it was trained for, and reads no text: detect and detector_threshold "
            "are for a detector that does",
            f"take {SUPPORTED}, for example {EXAMPLES}, or leave both out",
        )
    return YoloxDetector(Path(name).expanduser()) if folder is None else PublishedDetector(folder)


def detect(detector: Detector, frames: Sequence[PreparedPicture], most: int) -> Detections:
    """At most so many boxes a picture, none of them twice."""
    candidates = detector.candidates(frames)
    boxes = torch.zeros(len(frames), most, 4)
    found = torch.zeros(len(frames), most, dtype=torch.bool)
    chances = torch.zeros(len(frames), most, candidates.chances.shape[-1])
    for image, (places, sure) in enumerate(zip(candidates.boxes, candidates.sure, strict=True)):
        likely = (sure > detector.threshold).nonzero()[:, 0]
        best = likely[distinct(places[likely], sure[likely], most)]
        boxes[image, : len(best)] = places[best].clamp(0, 1)
        found[image, : len(best)] = True
        chances[image, : len(best)] = candidates.chances[image, best]
    return Detections(boxes, found, chances)


def distinct(
    boxes: Float[Tensor, "candidate 4"], sure: Float[Tensor, " candidate"], most: int
) -> Int[Tensor, " box"]:
    """The rows of the surest boxes, less those that show what a surer one shows (non-maximum suppression)."""
    boxes = boxes.clamp(0, 1)
    wide = (boxes[:, 2:] - boxes[:, :2]).amin(1) > THIN
    order = torch.where(wide, sure, -1.0).argsort(descending=True, stable=True)[: int(wide.sum())]
    left = order[:MOST_CANDIDATES]
    chosen: list[int] = []
    while len(left) and len(chosen) < most:
        chosen.append(int(left[0]))
        left = left[_overlap(boxes[left[0]], boxes[left]) <= SAME]
    return torch.tensor(chosen, dtype=torch.long)


def _overlap(one: Float[Tensor, "4"], boxes: Float[Tensor, "box 4"]) -> Float[Tensor, " box"]:
    """Intersection over union."""
    corner, far = torch.maximum(one[:2], boxes[:, :2]), torch.minimum(one[2:], boxes[:, 2:])
    common = (far - corner).clamp(min=0).prod(1)
    return common / ((one[2:] - one[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common)


class PublishedDetector:
    """A detector that transformers loads: a box and the kinds' logits for each of its queries."""

    phrases: tuple[str, ...] = ()
    threshold = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = load_detector(self.folder)
        self.identity = "".join(
            content_of(path) for path in weight_files(self.folder)
        )  # of the weights in use
        self.pixels = preprocessor_config.pixel_reader(self.folder, "squash", None)

    @property
    def kind_count(self) -> int:
        return int(self.network.config.num_labels)

    @torch.no_grad()
    def candidates(self, frames: Sequence[PreparedPicture]) -> Candidates:
        values = self.pixels.stack(frames).values
        output = self.network(pixel_values=values.to(self.network.device))
        logits = output.logits.float().cpu()
        if logits.shape[-1] == self.network.config.num_labels + 1:  # DETR, YOLOS: the last kind is "no thing"
            shares = logits.softmax(-1)[..., :-1]
        else:  # RT-DETR, D-FINE: each kind by itself
            shares = logits.sigmoid()
        return Candidates(corners(output.pred_boxes.float().cpu()), shares)

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def save(self, home: Path) -> str:
        into = home / "detector"
        into.mkdir()
        for source in model_files(self.folder, preprocessor_config.FILES):
            link_or_copy(source.resolve(), into / source.name)
        return into.name


class YoloxDetector:
    """YOLOX in ONNX. Each cell tells: centre, logarithm of the size, whether there is a thing, of which kind.

    Its pictures are blue before red, from 0 to 255. It runs on the processor, wherever the backbone is.
    """

    phrases: tuple[str, ...] = ()
    threshold = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = open_session(path)
        self.identity = content_of(path)
        taken, given = self._session.get_inputs()[0], self._session.get_outputs()[0]
        height, width, self.kind_count = _layout(path, taken.shape, given.shape)
        self.pixels = PixelReader([height, width], mean=[0, 0, 0], std=[1 / 255] * 3)
        cells = [(height // stride, width // stride) for stride in STRIDES]
        places = [torch.cartesian_prod(torch.arange(r), torch.arange(c)).flip(1) for r, c in cells]
        self._corner = torch.cat(places)  # column, row of each cell
        self._stride = torch.tensor(STRIDES).repeat_interleave(torch.tensor([r * c for r, c in cells]))[
            :, None
        ]
        self._side = torch.tensor([width, height])

    def candidates(self, frames: Sequence[PreparedPicture]) -> Candidates:
        blue_first = self.pixels.stack(frames).values.flip(1).numpy()
        output = torch.from_numpy(run_session(self._session, blue_first))
        centre = (output[..., :2] + self._corner) * self._stride / self._side
        size = output[..., 2:4].exp() * self._stride / self._side
        return Candidates(corners(torch.cat([centre, size], -1)), output[..., 4:5] * output[..., 5:])

    def to(self, device: torch.device) -> None:
        pass

    def save(self, home: Path) -> str:
        link_or_copy(self.path.resolve(), home / f"detector{ONNX}")
        return f"detector{ONNX}"


def _layout(path: Path, taken: Sequence[Any], given: Sequence[Any]) -> tuple[int, int, int]:
    """Height and width that it reads, kinds that it tells. Raises InputError for shapes of no YOLOX."""
    if len(taken) == 4 and len(given) == 3 and all(isinstance(side, int) for side in (*taken[2:], given[2])):
        height, width = taken[2:]
        cells = sum((height // stride) * (width // stride) for stride in STRIDES)
        if given[1] == cells and given[2] > 5:
            return height, width, given[2] - 5
    raise InputError(
        f"{path} is not a YOLOX as its authors export it: it takes {list(taken)} and gives {list(given)}, "
        "expected [images, 3, height, width] and [images, cells, 5 + kinds]; export it with a fixed size and "
        "without decoding, or take a detector that transformers loads"
    )
