"""A matcher whose weights are written by hand: it knows dog, people, beach, and sees each as a plain colour.

No training decides what it finds: a region has the vector of the word that names its colour, and no other.
"""

from pathlib import Path

import torch
from PIL import Image

from wordsight.inflection import lemma
from wordsight.matcher import Matcher
from wordsight.presence.model import CommonRule, MatchRule, PictureRule, PresenceModel, WordRules
from wordsight.presence.saved import save_presence
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index
from wordsight.sets import EmbeddingSet

COLOURS = {"dog": (255, 0, 0), "people": (0, 255, 0), "beach": (0, 0, 255)}
WORDS = tuple(COLOURS)
SHOWN = {
    "dog.png": ["dog"],
    "beach.png": ["beach"],
    "walk.png": ["dog", "people"],
    "sea.png": ["people", "beach"],
}
CAPTIONS = {
    "dog.png": ["a dog", "one dog"],
    "beach.png": ["a beach", "the beach"],
    "walk.png": [
        "a dog with people",
        "people with a dog",
        "two people and their dog",
        "the people and a dog",
    ],
    "sea.png": [
        "two people on a beach",
        "people on the beach",
        "a beach with people",
        "the people of a beach",
    ],
}
DIM = 6  # two groups of three channels, normalized apart: what is seen, twice


@torch.no_grad()
def written_matcher() -> Matcher:
    texts = [caption for captions in CAPTIONS.values() for caption in captions]
    tables = {
        "reader": {"name": "pixels", "size": 8, "resample": "nearest"},
        "tokenizer": {"name": "words"},
        "image_encoder": {
            "name": "grid-cnn", "dim": DIM, "width": 3, "depth": 0, "cell": 4, "stem_stride": 4,
            "overlaps": 0, "coordinates": False,
        },
        "text_encoder": {"name": "recurrent", "dim": DIM, "word_dim": DIM},
        "similarity": {"name": "max-sim", "pooling": "mean"},
    }  # fmt: skip
    matcher = Matcher.build(tables, vocabulary=Vocabulary.learn(texts, min_count=1)).eval()
    channels = torch.eye(3).repeat(2, 1)  # red, green, blue, and again
    convolution = matcher.image_encoder.halvings[0][0]
    convolution.weight.copy_(channels[:, :, None, None].expand_as(convolution.weight))
    matcher.image_encoder.head.weight.copy_(torch.eye(DIM))
    matcher.image_encoder.head.bias.zero_()
    reader = matcher.text_encoder.reader
    for name, values in reader.named_parameters():
        values.zero_()
        _, update, new = values.chunk(3)
        if name.startswith("weight_ih"):
            new.copy_(torch.eye(DIM))  # a state is the word itself, ...
        elif name.startswith("bias_ih"):
            update.fill_(-30)  # ... and nothing of the states before it
    table = matcher.text_encoder.words.weight.zero_()
    for column, word in enumerate(WORDS):
        table[matcher.tokenizer.vocabulary.entries.index(word)] = channels[:, column]
    return matcher


def written_presence(matcher: Matcher) -> PresenceModel:
    """A word is shown where a region has its colour."""
    none = torch.zeros(len(WORDS))
    rules = WordRules(torch.eye(3).repeat(1, 2) / 2**0.5, torch.zeros(3, DIM), none + 12, none - 6, none - 20)
    reference = matcher.encode_images([picture(things) for things in SHOWN.values()])
    return PresenceModel(
        tuple(map(lemma, WORDS)), rules, CommonRule(0.0, 0.0, -6.0, -20.0), MatchRule(), PictureRule(),
        EmbeddingSet(reference.vectors, reference.mask),
    )  # fmt: skip


def picture(things: list[str]) -> Image.Image:
    """Stripes of the colours of things, as many cells wide each."""
    image = Image.new("RGB", (8, 8), COLOURS[things[0]])
    if len(things) > 1:
        image.paste(COLOURS[things[1]], (4, 0, 8, 8))
    return image


def written_indexes(folder: Path) -> tuple[Index, Index]:
    """An index of the pictures and one of all their captions, with probabilities."""
    (folder / "pictures").mkdir()
    for name, things in SHOWN.items():
        picture(things).save(folder / "pictures" / name)
    (folder / "texts.txt").write_text("\n".join(text for texts in CAPTIONS.values() for text in texts))
    matcher = written_matcher()
    matcher.save_pretrained(folder / "model")
    save_presence(written_presence(matcher), folder / "model")
    pictures = Index.create(folder / "pictures.index", folder / "model")
    pictures.update([folder / "pictures"])
    texts = Index.create(folder / "texts.index", folder / "model", "texts")
    texts.update([folder / "texts.txt"])
    return pictures, texts
