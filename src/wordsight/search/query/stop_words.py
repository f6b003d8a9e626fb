"""Function words, which cannot be missing from a picture, and everyday words, which can."""

from functools import lru_cache

FUNCTION_WORDS = frozenset(
    """
    a an the this that these those some any each every all both no not and or but nor so as than then
    of in on at by for from to into onto with without within out off over under above below near next beside
    between behind before after through across around along against about up down upon beneath inside outside
    while during is are was were be been being am do does did has have had having can could will would may
    might must shall should there here it its he him his she her hers they them their theirs we us our you
    your i my me who whom whose which what where when how why very too also just only other another such
    one two three four several many much more most few own same
    """.split()  # noqa: SIM905
)

EVERYDAY_WORDS = tuple(
    """
    man woman child boy girl baby dog cat horse bird cow sheep elephant bear zebra giraffe car bus train truck
    bicycle motorcycle boat airplane street road bridge building house window door tree flower grass field
    mountain beach sea river lake sky cloud sun snow rain rock sand table chair bed sofa kitchen bathroom
    plate bowl cup bottle fork knife bread cake pizza apple banana orange carrot salad sandwich phone laptop
    keyboard book clock lamp umbrella bag hat shirt dress shoes glasses ball racket skateboard surfboard kite
    red blue green yellow black white brown pink purple grey small large old young wet wooden running jumping
    sitting standing riding playing eating sleeping smiling swimming climbing reading dancing crowd market
    station stadium park garden fence sign lights fire smoke ice guitar piano camera fish swing ladder tower
    """.split()  # noqa: SIM905
)


@lru_cache(1 << 16)
def names_something(word: str) -> bool:
    """Whether a word is a content word: it has letters or digits and is no function word."""
    return any(letter.isalnum() for letter in word) and word.casefold() not in FUNCTION_WORDS
