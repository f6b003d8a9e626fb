"""How right the probabilities of a model are, on a split that it was not calibrated on.

``python benchmarks/presence.py MODEL [--config C] [--split test] [--plot FILE.png]``, or of photographs with
people's boxes ``python benchmarks/presence.py MODEL --boxes INSTANCES.json --pictures FOLDER``:

(a) words against what captions mention: area under the curve, calibration error, reliability;
(b) queries of one and two words for what at least one picture in a hundred shows, by its captions;
(c) queries for what no picture shows; (d) captions with and without their picture; with --boxes instead the
names of COCO's categories against the boxes that people drew.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wordsight.builder import Builder
from wordsight.files.documents import read_json
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.read.annotations.coco_instances import Instances
from wordsight.runs.opening import open_config, open_matcher
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.query.encoded import encode_plain_text
from wordsight.search.relevance.mentions import Mentions
from wordsight.search.relevance.presence_quality import area_under_curve, calibration_error, reliability
from wordsight.search.relevance.verdict import TextVerdict
from wordsight.sets import EmbeddingSet

# Things that a camera can see, whose words the captions of at least eight Flickr8k training pictures hold.
NOUNS = """
man person dog boy woman girl shirt child water grass field ball street snow camera jacket hat bike
beach face tree rock park mountain building player wall toy hill crowd ocean hair shorts helmet
sidewalk sand path uniform coat stick lake city dress pool suit fence pants skateboard jeans car
baby wave track soccer yard skateboarder ramp cap biker river rope bench collar toddler forest cliff
tennis football sunglasses boat backpack pole slide house motorcycle climber baseball brick
playground flower bag chair floor frisbee horse bird skier sweater snowboarder surfer basketball ice
cyclist surfboard window vest shoe pond fountain stair flag bed swimsuit bridge scarf snowboard
train guitar beard truck canoe tent restaurant kayak glove table statue umbrella couch bottle book
bus fish stage swing hockey hurdle puppy raft greyhound bicycle jersey road sky leash harness tunnel
trampoline wetsuit goggles
""".split()  # noqa: SIM905
MIN_SHARE = 0.01
QUERIES = 100
CAPTIONS = 500
RAISED = (0, 1, 2, 3, 4, 6)  # log odds: what a stronger model would give
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True, eq=False)
class Measured:
    """Pictures of a split, and what their captions mention."""

    matcher: Matcher
    pairs: PairSet
    pictures: EmbeddingSet
    mentions: Mentions

    @torch.no_grad()
    def chances(self, text: str) -> Float[Tensor, " image"]:
        """The probability that each picture matches."""
        presence = self.matcher.presence
        assert presence is not None
        encoded = encode_plain_text(self.matcher, text)
        scorer = QueryScorer(self.matcher.similarity, encoded.set)
        verdict = TextVerdict.of(self.matcher, presence, encoded, scorer)
        scores = scorer.scores(self.pictures)
        return torch.sigmoid(verdict.logits(self.pictures, scores)).cpu()

    def mentioned(self, words: Sequence[str]) -> Bool[np.ndarray, "image word"]:
        found: Bool[np.ndarray, "image word"] = self.mentions.counts(words) > 0
        return found


def measure(matcher: Matcher, pairs: PairSet) -> Measured:
    with torch.no_grad():
        parts = [
            matcher.encode_images(matcher.read_images(pairs.images.read(list(range(start, stop)))))
            for start in range(0, len(pairs.images), 64)
            for stop in [min(start + 64, len(pairs.images))]
        ]
    return Measured(matcher, pairs, EmbeddingSet.join(parts), Mentions.of(matcher.tokenizer, pairs))


def boxes_report(matcher: Matcher, boxes: Path, pictures: Path) -> None:
    """Categories whose name is a word that the model knows, against the pictures with a box of one."""
    presence = matcher.presence
    assert presence is not None
    instances = Instances(boxes, read_json(boxes))
    found = {path: instances.boxes_of(path.name) for path in sorted(pictures.iterdir())}
    files = [path for path, boxes_there in found.items() if boxes_there]
    drawn = [found[path] for path in files]
    words = sorted({name for one in drawn for name in one if name in presence.rows})
    shown_to = torch.tensor([[word in one for word in words] for one in drawn])
    with torch.no_grad():
        encoded = matcher.encode_images(matcher.read_images(files))
        said = torch.sigmoid(presence.rules[[presence.rows[word] for word in words]].logits(encoded))
    said = said.cpu()
    print(
        f"{len(words)} categories x {len(files)} pictures: {quality(said, shown_to)}; "
        f"shown {shown_to.float().mean():.3f}, said {said.mean():.3f}"
    )


def quality(said: Float[Tensor, "image word"], true: Bool[Tensor, "image word"]) -> str:
    """Areas under the curve, and the calibration error."""
    each = [area_under_curve(said[:, n], true[:, n]) for n in range(said.shape[1])]
    return (
        f"area under the curve {area_under_curve(said, true):.4f} over all pairs, "
        f"{np.nanmean(each):.4f} mean of words; calibration error {calibration_error(said, true):.4f}"
    )


def words_report(one: Measured, plot: Path | None) -> None:
    presence = one.matcher.presence
    assert presence is not None
    words = [word for word in NOUNS if word in presence.rows]
    rules = presence.rules[[presence.rows[word] for word in words]]
    mentioned = torch.from_numpy(one.mentioned(words))
    with torch.no_grad():
        said = torch.sigmoid(rules.mentioned_logits(one.pictures)).cpu()
        shown = torch.sigmoid(rules.logits(one.pictures)).cpu()
    print(
        f"(a) {len(words)} nouns x {len(one.pictures)} pictures: {quality(said, mentioned)} "
        f"(of shown against mentions {calibration_error(shown, mentioned):.4f})"
    )
    for row in reliability(said, mentioned, 10):
        print(f"    said {row.said:.3f}  true {row.true:.3f}  of {row.count:,}")
    if plot is not None:
        _draw(plot, said, mentioned)


def _draw(path: Path, said: Tensor, mentioned: Tensor) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    table = reliability(said, mentioned, 10)
    figure, axes = pyplot.subplots(figsize=(4.5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([row.said for row in table], [row.true for row in table], "o-", color="#0072b2")
    for row in table:
        axes.annotate(
            f"{row.count:,}", (row.said, row.true), (4, -11), textcoords="offset points", fontsize=7
        )
    axes.set(
        xlabel="probability", ylabel="share of pictures whose captions mention it", xlim=(0, 1), ylim=(0, 1)
    )
    figure.savefig(path, dpi=150)


def queries_report(one: Measured) -> None:
    singles = [word for word in NOUNS if one.mentioned([word]).mean() >= MIN_SHARE]
    pairs = [
        (first, second)
        for n, first in enumerate(singles)
        for second in singles[n + 1 :]
        if one.mentioned([first, second]).all(1).mean() >= MIN_SHARE
    ]
    step = max(1, len(pairs) // (QUERIES // 2))
    chosen = [(f"a {word}", [word]) for word in singles[: QUERIES // 2]]
    chosen += [(f"a {first} and a {second}", [first, second]) for first, second in pairs[::step]][
        : QUERIES // 2
    ]
    answered, right, total, each = 0, 0, 0, []
    refused = []
    for text, words in chosen:
        matches = one.chances(text).numpy() >= 0.5
        true = one.mentioned(words).all(1)
        answered += bool(matches.any())
        refused += [] if matches.any() else [text]
        right, total = right + int((matches & true).sum()), total + int(matches.sum())
        each += [float(true[matches].mean())] if matches.any() else []
    print(
        f"(b) {len(chosen)} queries for what 1 % and more mention: {answered} answered; of {total} matches "
        f"{right / max(1, total):.3f} mentioned, {np.mean(each):.3f} mean of queries; refused: {refused}"
    )


def absent_report(one: Measured) -> None:
    presence = one.matcher.presence
    assert presence is not None
    absent = [word for word in presence.words if not one.mentioned([word]).any()]
    known = [f"a {word}" for word in absent[:QUERIES]]
    singles = [word for word in NOUNS if one.mentioned([word]).mean() >= MIN_SHARE]
    never = [
        f"a {first} and a {second}"
        for n, first in enumerate(singles)
        for second in singles[n + 1 :]
        if not one.mentioned([first, second]).all(1).any()
    ]
    unknown = ["a giraffe", "a red submarine", "zebras", "a violin on a sofa", "an astronaut"]
    for name, texts in (
        ("words", known),
        ("pairs", never[:: max(1, len(never) // QUERIES)]),
        ("unknown", unknown),
    ):
        answered = [text for text in texts if bool((one.chances(text) >= 0.5).any())]
        refused = len(texts) - len(answered)
        print(f"(c) {len(texts)} {name} of no picture: {refused} refused; answered: {answered[:12]}")


def captions_report(one: Measured) -> None:
    step = max(1, len(one.pairs.texts) // CAPTIONS)
    texts = range(0, len(one.pairs.texts), step)
    own, without = [], []
    for row in texts:
        chances = one.chances(one.pairs.texts[row])
        image = int(one.pairs.image_of[row])
        own.append(float(chances[image]))
        chances[image] = 0
        without.append(float(chances.max()))
    mine, others = np.array(own), np.array(without)
    best = np.maximum(mine, others)
    print(f"(d) {len(best)} captions: area {apart(best, others):.3f} (best with, against without)")
    for least in THRESHOLDS:
        shares = [np.mean(values >= least) for values in (best, mine, others)]
        print(
            f"    from {least:.2f} on: answered {shares[0]:.3f}, own picture among them {shares[1]:.3f}, "
            f"answered without it {shares[2]:.3f}"
        )
    for raised in RAISED:
        better = 1 / (1 + (1 / mine.clip(1e-9, 1 - 1e-9) - 1) * np.exp(-raised))
        print(
            f"    own picture's log odds raised by {raised}: first for {np.mean(better > others):.3f}, "
            f"area {apart(np.maximum(better, others), others):.3f}"
        )


def apart(present: Float[np.ndarray, " n"], absent: Float[np.ndarray, " n"]) -> float:
    """Area under the curve of what is there against what is not."""
    labels = torch.arange(len(present) + len(absent)) < len(present)
    return area_under_curve(torch.from_numpy(np.concatenate([present, absent])), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--config")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--boxes", type=Path, help="COCO's instances, instead of captions")
    parser.add_argument("--pictures", type=Path, help="the folder of their photographs")
    options = parser.parse_args()
    matcher = open_matcher(options.model)
    if matcher.presence is None:
        raise SystemExit(f"{options.model} has no probabilities; run wordsight calibrate {options.model}")
    if options.boxes is not None:
        boxes_report(matcher, options.boxes, options.pictures)
        return
    one = measure(
        matcher, Builder(open_config(options.model, options.config, ())).measured_pairs(options.split)
    )
    words_report(one, options.plot)
    queries_report(one)
    absent_report(one)
    captions_report(one)


if __name__ == "__main__":
    main()
