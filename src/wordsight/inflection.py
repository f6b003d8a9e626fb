"""English words -> the form under which they are counted ("Dogs" -> "dog"), and nouns -> their plural."""

import re
from functools import lru_cache

IRREGULAR = {  # plurals that no rule gives, in both directions
    "man": "men", "woman": "women", "child": "children", "gentleman": "gentlemen", "foot": "feet",
    "tooth": "teeth", "goose": "geese", "mouse": "mice", "leaf": "leaves", "knife": "knives",
    "wolf": "wolves", "ox": "oxen", "shelf": "shelves", "scarf": "scarves", "half": "halves",
    "loaf": "loaves", "calf": "calves", "policeman": "policemen", "policewoman": "policewomen",
    "fireman": "firemen", "snowman": "snowmen", "fisherman": "fishermen",
}  # fmt: skip
SINGULARS = {many: one for one, many in IRREGULAR.items()} | {  # and those that the rules would take wrongly
    "people": "person", "movies": "movie", "cookies": "cookie", "hoodies": "hoodie", "ties": "tie",
    "pies": "pie", "buses": "bus", "gases": "gas",
}  # fmt: skip
NO_SINGULAR = frozenset(
    """
    glasses sunglasses eyeglasses goggles shorts pants trousers jeans tights clothes scissors binoculars
    headphones species series news tennis bus gas lens canvas circus campus cactus chaos atlas iris
    always sometimes perhaps besides hers ours yours theirs texas paris christmas
    """.split()  # noqa: SIM905
)
NO_PLURAL = frozenset("people sheep cattle aircraft scissors skis shears luggage broccoli".split())  # noqa: SIM905


@lru_cache(1 << 16)
def lemma(word: str) -> str:
    """The singular of a regular English plural, in small letters; any other word unchanged.

    The rules ask no word list, so that a word has one form in every model. A wrong singular is harmless,
    because texts and queries are changed alike.
    """
    word = word.casefold().replace("\u2019", "'").removesuffix("'s")
    if word in SINGULARS:
        return SINGULARS[word]
    if word in NO_SINGULAR or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if re.search("(x|z|ch|sh|ss)es$", word) else word[:-1]


def plural(noun: str) -> str:
    """The plural of an English noun in small letters; of one that has none, the noun."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun in NO_PLURAL:
        return noun
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
