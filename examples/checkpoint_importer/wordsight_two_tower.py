"""An importer for wordsight: [image, text] state dicts; a linear map of stored features, and a BiGRU.

Use it: ``wordsight import model.pth --from two-tower --vocabulary vocab.json --out model``.
"""

from wordsight.extending import Description, Given, Published, Rule, System, Vocabulary


def describe(published: Published, given: Given) -> Description:
    """The parts and their sizes, read from the shapes of the weights."""
    dim, feature_dim = published.size("img.proj.weight", 2)
    words, word_dim = published.size("txt.embed.weight", 2)
    parts = {
        "reader": {"name": "precomputed", "feature_dim": feature_dim},
        "tokenizer": {"name": "words", "mask": False},
        "image_encoder": {"name": "regions", "feature_dim": feature_dim, "dim": dim, "pool": "mean"},
        "text_encoder": {
            "name": "recurrent", "dim": dim, "word_dim": word_dim, "vocabulary_size": words, "pool": "last",
        },
        "similarity": {"name": "cosine"},
    }  # fmt: skip
    return Description(published, parts, Vocabulary.load(given.vocabulary))


SYSTEM = System(
    name="two-tower",
    recognizes=lambda published: published.has("img.proj."),
    describe=describe,
    rules=(
        Rule("img.proj.", "image_encoder.linear."),
        Rule("txt.embed.", "text_encoder.words."),
        Rule("txt.rnn.", "text_encoder.reader."),
    ),
)
