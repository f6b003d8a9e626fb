"""A word as it was written -> the form under which presence is counted: "Dogs" -> "dog", "men" -> "man"."""

import re
from functools import lru_cache

IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "geese": "goose", "mice": "mouse", "leaves": "leaf", "knives": "knife", "wolves": "wolf", "oxen": "ox",
    "shelves": "shelf", "scarves": "scarf", "halves": "half", "loaves": "loaf", "calves": "calf",
    "policemen": "policeman", "policewomen": "policewoman", "firemen": "fireman", "snowmen": "snowman",
    "fishermen": "fisherman", "movies": "movie", "cookies": "cookie", "hoodies": "hoodie", "ties": "tie",
    "pies": "pie", "buses": "bus", "gases": "gas",
}  # fmt: skip
NO_PLURALS = frozenset(
    """
    glasses sunglasses eyeglasses goggles shorts pants trousers jeans tights clothes scissors binoculars
    headphones species series news tennis bus gas lens canvas circus campus cactus chaos atlas iris
    always sometimes perhaps besides hers ours yours theirs texas paris christmas
    """.split()  # noqa: SIM905
)


@lru_cache(1 << 16)
def lemma(word: str) -> str:
    """The singular of a regular English plural, in small letters; any other word unchanged.

    The rules ask no word list, so that a word has one form in every model. A wrong singular is harmless,
    because texts and queries are changed alike.
    """
    word = word.casefold().replace("\u2019", "'").removesuffix("'s")
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in NO_PLURALS or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if re.search("(x|z|ch|sh|ss)es$", word) else word[:-1]
