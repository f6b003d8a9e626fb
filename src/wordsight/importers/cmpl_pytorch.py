"""Checkpoints of CMPL's PyTorch port: one state dict, no options; the vocabulary is word_to_index.pkl."""

from collections.abc import Mapping

import torch
from torch import Tensor

from wordsight.errors import InputError
from wordsight.importers.checkpoint_reader import AVERAGE, NETWORK, Published, Weight
from wordsight.importers.parts import cnn
from wordsight.importers.system import Description, Given, System, Tables
from wordsight.importers.vocabulary_reader import read_word_ranks
from wordsight.importers.weight_map import Rule
from wordsight.read.text.vocabulary import SPECIALS, Vocabulary

SIDE = 224  # pixels; the port squashes every picture to that
START, END = "<START>", "<END>"  # counted among the words of the port, and cut off every caption
CNN = ("image_model.", "mobilenet_v1.")  # in the order of the port's versions, newest first
WORDS, LSTM, READER = "bilstm.embed.weight", "bilstm.bilstm.", "text_encoder.reader."
GATES = ("weight_ih_l0", "weight_hh_l0")  # of one reader, the four gates one below the other
EPS = 1e-5  # of our joint layer's batch norm, undone by its variance
CLASSIFIER = "the classifier that the network was trained with before, which nothing here passes through"
RULES = (
    Rule("image_encoder.", "image_encoder."),
    Rule("text_encoder.", "text_encoder."),
    *(Rule(f"{start}fc.", None, CLASSIFIER) for start in CNN),
    Rule("W", None, "the classes of CMPC: of the loss, not of the model"),
)


def describe(published: Published, given: Given) -> Description:
    """Describe a checkpoint of the port by weights of our parts that compute the same."""
    vocabulary, rows = _vocabulary(published, given)
    made = _cnn(published, given) | _reader(published) | _words(published, rows)
    made |= _joint(published, "image", "conv_images.") | _joint(published, "text", "conv_text.")
    published_parts = published.with_weights(made | _rest(published, made))
    return Description(published_parts, _parts(published_parts, given), vocabulary, _notes(published_parts))


def _rest(published: Published, made: Mapping[str, Weight]) -> dict[str, Weight]:
    """Weights that no rule used: an unknown weight must not be passed over."""
    used = {id(weight) for weight in made.values()}
    taken_apart = {WORDS, "conv_images.weight", "conv_text.weight"}
    taken_apart |= {f"{LSTM}{number}.{name}" for number in (0, 1) for name in GATES}
    return {
        name: weight
        for name, weight in published.weights.items()
        if id(weight) not in used and name not in taken_apart
    }


def _parts(published_parts: Published, given: Given) -> Tables:
    image_joint, width = published_parts.size("image_encoder.joint_layer.linear.weight", 2)
    text_joint, dim = published_parts.size("text_encoder.joint_layer.linear.weight", 2)
    rows, word_dim = published_parts.size("text_encoder.words.weight", 2)
    return {
        "reader": {"name": "pixels", "size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3},
        "tokenizer": {"name": "words", "word_splitter": "cmpl-cased", "specials": "none", "mask": False},
        "image_encoder": {
            "name": "backbone", "model": str(given.work / "cnn"), "pretrained": False, "head": False,
            "dim": width, "pool": "mean", "projection": {"dim": image_joint, "eps": EPS},
        },
        "text_encoder": {
            "name": "recurrent", "cell": "lstm", "vocabulary_size": rows, "word_dim": word_dim, "dim": dim,
            "bidirectional": published_parts.has(f"{READER}weight_ih_l0_reverse"),
            "merge": "concat", "pool": "max",
            "projection": {"dim": text_joint, "eps": EPS},
        },
        "similarity": {"name": "cosine"},
    }  # fmt: skip


def _cnn(published: Published, given: Given) -> dict[str, Weight]:
    start = next((start for start in CNN if published.has(start)), CNN[0])
    read = cnn.mobilenet if cnn.is_mobilenet(published, start) else cnn.resnet
    names, config = read(published, start)
    cnn.write_config(config, given.work)
    return {f"image_encoder.backbone.{own}": published.weights[name] for name, own in names.items()}


def _joint(published: Published, side: str, start: str) -> dict[str, Weight]:
    """A 1 x 1 convolution with a bias is our joint layer whose batch norm only adds that bias."""
    matrix, bias = published.weight(f"{start}weight", 4), published.weight(f"{start}bias", 1)
    own = f"{side}_encoder.joint_layer."
    one, no = torch.ones_like(bias.tensor), torch.zeros_like(bias.tensor)
    made = "(made: the port has no batch norm here)"
    return {
        f"{own}linear.weight": Weight(matrix.source, matrix.tensor.flatten(1)),
        f"{own}norm.bias": bias,
        f"{own}norm.weight": Weight(made, one),
        f"{own}norm.running_mean": Weight(made, no),
        f"{own}norm.running_var": Weight(made, one - EPS),
    }


def _reader(published: Published) -> dict[str, Weight]:
    """The port's LSTMs have no bias, and its second one reads forwards too: both together are one of ours."""
    if not published.has(f"{LSTM}0."):  # an early version: one LSTM that does read both ways
        ends = ("", "_reverse") if published.has(f"{LSTM}weight_ih_l0_reverse") else ("",)
        names = [name + end for end in ends for name in GATES]
        return _without_bias({name: published.weight(LSTM + name, 2) for name in names})
    both = [_of(published, number) for number in (0, 1) if published.has(f"{LSTM}{number}.")]
    return _without_bias({name: _side_by_side([one[name] for one in both], name) for name in both[0]})


def _of(published: Published, number: int) -> dict[str, Weight]:
    start = f"{LSTM}{number}."
    return {name: published.weight(start + name, 2) for name in GATES}


def _side_by_side(parts: list[Weight], name: str) -> Weight:
    """Gate by gate (input, forget, cell, output), the rows of each reader; states do not mix."""
    gates = [part.tensor.chunk(4) for part in parts]
    projected = [
        _diagonal(gate) if name.startswith("weight_hh") else torch.cat(gate)
        for gate in zip(*gates, strict=True)
    ]
    return Weight(" and ".join(part.source for part in parts), torch.cat(projected))


def _diagonal(blocks: tuple[Tensor, ...]) -> Tensor:
    square: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return square


def _without_bias(read: Mapping[str, Weight]) -> dict[str, Weight]:
    made = {f"{READER}{name}": weight for name, weight in read.items()}
    for name, weight in read.items():
        bias = Weight("(made: the port's LSTM has no bias)", torch.zeros(len(weight.tensor)))
        made[READER + name.replace("weight", "bias")] = bias
    return made


def _words(published: Published, rows: list[int]) -> dict[str, Weight]:
    """The rows of the word table in the order of our vocabulary; what no word uses is left out."""
    weight = published.weight(WORDS, 2)
    padding = weight.tensor.new_zeros(1, weight.tensor.shape[1])
    table = torch.cat([padding, weight.tensor[rows]])
    return {
        "text_encoder.words.weight": Weight(
            f"{weight.source}, its rows in the order of vocabulary.json", table
        )
    }


def _vocabulary(published: Published, given: Given) -> tuple[Vocabulary, list[int]]:
    """Our vocabulary, and for each of its words but <pad> the row of the port's word table.

    There, ids are ranks from 0, and what is not known has the first id after them.
    """
    if given.vocabulary is None:
        raise InputError(
            f"give the vocabulary of {published.path} with --vocabulary: the word_to_index.pkl that the "
            "port's preprocess.py wrote"
        )
    ranked, size = read_word_ranks(given.vocabulary), published.size(WORDS, 2)[0]
    if len(ranked) >= size:
        raise InputError(
            f"the vocabulary {given.vocabulary} has {len(ranked)} words, but the word table of "
            f"{published.path} has {size} rows, of which one is for unknown words"
        )
    rank = {word: place for place, word in enumerate(ranked)}
    words = [word for word in ranked if word not in (START, END, *SPECIALS)]
    unknown = len(ranked)
    rows = [rank.get(START, unknown), rank.get(END, unknown), unknown, *(rank[word] for word in words)]
    return Vocabulary((*SPECIALS, *words)), rows


def recognizes(published: Published) -> bool:
    return published.has("conv_images.") and published.has("bilstm.")


def _notes(published_parts: Published) -> list[str]:
    notes = [
        "the port pads captions and takes maxima over the padding's zeros too: a caption's vector there "
        "depends on the longest one beside it; here it is that of the caption alone (--config with "
        "pool_padding = true for its text encoder brings that back)"
    ]
    if published_parts.facts.get("weights_from") == AVERAGE:
        notes.append(
            "the checkpoint holds the running average of its weights beside the last ones; the average was "
            "imported, which the port's test.py measures (--no-ema imports the last ones)"
        )
    elif published_parts.facts.get("weights_from") == NETWORK:
        notes.append(
            "the last weights were imported, and not their running average, which the port's test.py "
            "measures (--ema imports it)"
        )
    if published_parts.has("image_encoder.backbone.conv_stem."):
        notes.append("MobileNet v1 as in PyTorch: even padding, and norms that add 1e-5")
    return notes


SYSTEM = System("cmpl-pytorch", recognizes, describe, RULES)
