"""Pictures and phrases -> boxes of what the phrases name: Grounding DINO (all phrases in one text), OWLv2."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float, Int

from wordsight.errors import InputError
from wordsight.files.atomic import link_or_copy
from wordsight.files.fingerprint import content_of
from wordsight.pretrained import feature_maps
from wordsight.pretrained.models import model_files, weight_files
from wordsight.pretrained.prompted import FILES, PromptedFamily, load_prompted
from wordsight.read.pictures import preprocessor_config
from wordsight.read.pictures.aspect_reader import AspectReader
from wordsight.read.pictures.candidates import Candidates, corners
from wordsight.read.pictures.pixel_reader import PixelReader, PreparedPicture
from wordsight.tensors import F, Tensor, torch


class PromptedDetector:
    """A detector of transformers that reads phrases; see the classes below for how each family does.

    ``threshold``: boxes that are less sure are none; None: as published.
    """

    def __init__(
        self, folder: Path, family: PromptedFamily, phrases: Sequence[str], threshold: float | None
    ) -> None:
        self.folder, self.phrases = folder, tuple(phrases)
        self.threshold = family.threshold if threshold is None else threshold
        self.network, self.tokenizer = load_prompted(folder, family)
        self.identity = "".join(content_of(path) for path in weight_files(folder))
        self.pixels = pixels_of(folder, family)

    @property
    def kind_count(self) -> int:
        return len(self.phrases)

    @torch.no_grad()
    def candidates(self, frames: Sequence[PreparedPicture]) -> Candidates:
        """All boxes; pictures of one shape are read together, others after each other, without padding."""
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, frame in enumerate(frames):
            by_shape[frame.values.shape].append(row)
        if not frames:
            return Candidates(torch.zeros(0, 0, 4), torch.zeros(0, 0, len(self.phrases)))
        found: dict[int, Candidates] = {}
        for rows in by_shape.values():
            values = self.pixels.stack([frames[row] for row in rows]).values.to(self.network.device)
            boxes, logits = self.logits(values)
            windows = torch.tensor([frames[row].window for row in rows])
            placed = feature_maps.in_picture(corners(boxes), windows)
            chances = logits.sigmoid()
            found |= {row: Candidates(placed[[n]], chances[[n]]) for n, row in enumerate(rows)}
        every = (found[row] for row in sorted(found))
        return Candidates(*(torch.cat(parts) for parts in zip(*every, strict=True)))

    def logits(
        self, values: Float[Tensor, "image 3 height width"]
    ) -> tuple[Float[Tensor, "image candidate 4"], Float[Tensor, "image candidate phrase"]]:
        """Boxes (centre, width, height; fractions of what is in view), and a logit for each phrase."""
        raise NotImplementedError

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def save(self, home: Path) -> str:
        into = home / "detector"
        into.mkdir()
        for source in model_files(self.folder, (*preprocessor_config.FILES, *FILES)):
            link_or_copy(source.resolve(), into / source.name)
        return into.name


class GroundingDetector(PromptedDetector):
    """Grounding DINO: the phrases are one text, "dog. frisbee."; a phrase is as sure as its surest token.

    Phrases that one text does not hold are read in several, one after the other.
    """

    def __init__(
        self, folder: Path, family: PromptedFamily, phrases: Sequence[str], threshold: float | None
    ) -> None:
        super().__init__(folder, family, phrases, threshold)
        self._texts = self._split(int(self.network.config.max_text_len))

    def _split(self, most: int) -> list[tuple[Int[Tensor, " token"], Int[Tensor, " token"]]]:
        """For each text its ids, and the number of the phrase of each token, -1 for marks."""
        ends = self.tokenizer(".", add_special_tokens=False)["input_ids"]
        first, last = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        texts, ids, numbers = [], list(first), [-1]
        for number, phrase in enumerate(self.phrases):
            tokens = self.tokenizer(phrase, add_special_tokens=False)["input_ids"]
            if len(tokens) + 3 > most or not tokens:
                raise InputError(f'"{phrase}" has {len(tokens)} tokens; the detector reads 1 to {most - 3}')
            if len(ids) + len(tokens) + 2 > most:
                texts.append((ids + last, [*numbers, -1]))
                ids, numbers = list(first), [-1]
            ids += tokens + ends
            numbers += [number] * len(tokens) + [-1]
        texts.append((ids + last, [*numbers, -1]))
        return [(torch.tensor(ids), torch.tensor(numbers)) for ids, numbers in texts]

    def logits(
        self, values: Float[Tensor, "image 3 height width"]
    ) -> tuple[Float[Tensor, "image candidate 4"], Float[Tensor, "image candidate phrase"]]:
        boxes, by_phrase = [], []
        for ids, numbers in self._texts:
            given = ids.to(values.device).expand(len(values), -1)
            output = self.network(pixel_values=values, input_ids=given)
            tokens = output.logits[..., : len(ids)].float().cpu()[..., numbers >= 0]
            none = torch.full(
                (*tokens.shape[:2], len(self.phrases)), -float("inf")
            )  # of other texts' phrases
            by_phrase.append(none.scatter_reduce(-1, numbers[numbers >= 0].expand_as(tokens), tokens, "amax"))
            boxes.append(output.pred_boxes.float().cpu())
        return torch.cat(boxes, 1), torch.cat(by_phrase, 1)


class OwlDetector(PromptedDetector):
    """OWLv2 and OWL-ViT: each phrase is a text of its own, and each cell of the picture has a box."""

    def __init__(
        self, folder: Path, family: PromptedFamily, phrases: Sequence[str], threshold: float | None
    ) -> None:
        super().__init__(folder, family, phrases, threshold)
        most = int(self.network.config.text_config.max_position_embeddings)
        read = [self.tokenizer(phrase)["input_ids"] for phrase in self.phrases]
        for phrase, ids in zip(self.phrases, read, strict=True):
            if len(ids) > most:
                raise InputError(f'"{phrase}" has {len(ids)} tokens; the detector reads at most {most}')
        pad = self.tokenizer.pad_token_id or 0
        self._ids = torch.stack([F.pad(torch.tensor(ids), (0, most - len(ids)), value=pad) for ids in read])
        self._mask = torch.stack([torch.arange(most) < len(ids) for ids in read])

    def logits(
        self, values: Float[Tensor, "image 3 height width"]
    ) -> tuple[Float[Tensor, "image candidate 4"], Float[Tensor, "image candidate phrase"]]:
        ids, mask = (one.to(values.device).repeat(len(values), 1) for one in (self._ids, self._mask.long()))
        output = self.network(input_ids=ids, pixel_values=values, attention_mask=mask)
        return output.pred_boxes.float().cpu(), output.logits.float().cpu()


def pixels_of(folder: Path, family: PromptedFamily) -> PixelReader:
    """Pictures as the published preprocessing makes them, but for the way of scaling, which is Pillow's."""
    published = preprocessor_config.pixel_reader(folder, "squash", None)
    if not isinstance(published, PixelReader):
        raise InputError(f"{folder} keeps the shape of pictures in a way that no such detector is known to")
    size = preprocessor_config.read_preprocessing(folder).get("size")
    mean, std, resample = published.mean, published.std, published.resample
    if family.is_square:
        return AspectReader(published.height, published.height, mean, std, resample, padded=True)
    if isinstance(size, dict) and "shortest_edge" in size:
        short = int(size["shortest_edge"])
        return AspectReader(short, max(short, int(size.get("longest_edge", short))), mean, std, resample)
    return published
