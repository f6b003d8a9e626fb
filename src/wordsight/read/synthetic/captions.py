"""Scene -> sentences in varied English, each with its meaning and with the word that names each thing."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from wordsight.read.synthetic.scenes import Scene, Thing
from wordsight.read.synthetic.semantics import Fact, Meaning, Phrase, readings

Others: TypeAlias = Callable[[Meaning], bool]  # whether a meaning is true of another picture too

NOUNS: dict[str | None, tuple[str, ...]] = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "heart": ("heart",),
    "crescent": ("crescent", "moon"),
    None: ("object", "thing", "shape", "figure"),
}
ADJECTIVES: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "purple", "violet"),
    "white": ("white",),
    "black": ("black",),
    "small": ("small", "little", "tiny"),
    "large": ("large", "big", "huge"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
}
SAID: dict[str, tuple[str, ...]] = {  # "{0} is <said> {1}"
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "beneath", "lower than"),
    "next": ("next to", "beside", "close to", "near"),
    "bigger": ("bigger than", "larger than"),
    "smaller": ("smaller than",),
    "at left": ("on the left", "at the left edge", "on the left side"),
    "at right": ("on the right", "at the right edge", "on the right side"),
    "at top": ("at the top", "in the upper half"),
    "at bottom": ("at the bottom", "in the lower half"),
    "at top left": ("at the top left", "in the upper left corner"),
    "at top right": ("at the top right", "in the upper right corner"),
    "at bottom left": ("at the bottom left", "in the lower left corner"),
    "at bottom right": ("at the bottom right", "in the lower right corner"),
    "in middle": ("in the middle", "in the centre"),
}
SIDE = {"left": "to its left", "right": "to its right", "above": "above it", "below": "below it"}
PLACES = tuple(name for name in SAID if name.startswith(("at ", "in ")))
COMPARED = ("bigger", "smaller")
AROUND = tuple(name for name in SAID if name not in (*PLACES, *COMPARED))
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
LISTS = {
    1: ("{0}", "there is {0}", "a picture of {0}"),
    2: (
        "{0} and {1}",
        "there is {0} and {1}",
        "a picture of {0} and {1}",
        "{0} as well as {1}",
        "{0} together with {1}",
        "we see {0} and also {1}",
    ),
    3: (
        "{0} , {1} and {2}",
        "there are {0} , {1} and {2}",
        "{0} with {1} and {2}",
        "the picture shows {0} , {1} and {2}",
    ),
    4: ("{0} , {1} , {2} and {3}", "we see {0} , {1} , {2} and {3}"),
}
RELATE = (  # two things and how the first lies to the second
    "{0} is <0> {1}",
    "{0} is <0> {1}",
    "{0} lies <0> {1}",
    "there is {0} <0> {1}",
    "the picture shows {0} <0> {1}",
    "<0> {1} there is {0}",
)
COMPARE = ("{0} is <0> {1}", "{0} looks <0> {1}")
CHAIN = {  # by the things that the second fact is about
    (0, 2): ("{0} is <0> {1} and <1> {2}", "{0} lies <0> {1} but <1> {2}"),
    (1, 2): ("{0} is <0> {1} , which is <1> {2}", "there is {0} <0> {1} that is <1> {2}"),
}
PLACE = {
    1: ("{0} is <0>", "<0> there is {0}", "there is {0} <0>"),
    2: ("{0} <0> and {1} <1>", "{0} is <0> , {1} <1>", "there is {0} <0> and {1} <1>"),
}
BETWEEN = ("{0} is between {1} and {2}", "between {1} and {2} there is {0}", "{0} lies between {1} and {2}")
ALSO = (
    "* , and there is also {n}",
    "* , together with {n}",
    "{n} can be seen , and *",
)  # * speaks of n things
TOTAL = ("among <n> things , *", "of <n> shapes , *", "there are <n> objects : *")
TRIES = 3000


@dataclass(frozen=True)
class Sentence:
    """A sentence, what it claims, and which words name which thing of its scene."""

    text: str
    meaning: Meaning
    named: tuple[tuple[int, int], ...]  # (position among the words, thing); punctuation marks are words


@dataclass(frozen=True)
class _Plan:
    """A sentence before each thing has its name: {0} is a thing, <0> a fact, "," a word."""

    template: str
    things: tuple[int, ...]  # of the scene, in the order of the braces
    facts: tuple[Fact, ...] = ()
    total: int | None = None


def write_sentences(scene: Scene, others: Others, seed: str, count: int = 5) -> list[Sentence]:
    """``count`` different sentences, each clearly true of the scene and with one reading only in it.

    Each is also false, even if read generously, of all the ``others`` that it is compared with.
    """
    chance = random.Random(seed)
    sentences: dict[str, Sentence] = {}
    for _ in range(TRIES):
        sentence = _write(scene, chance)
        if sentence is not None and not others(sentence.meaning):
            sentences.setdefault(sentence.text, sentence)
        if len(sentences) == count:
            return list(sentences.values())
    raise RuntimeError(f"{len(sentences)} of {count} sentences in {TRIES} tries for {scene}")


def _write(scene: Scene, chance: random.Random) -> Sentence | None:
    """One attempt; None if what came out would not be clear."""
    plan = _plan(scene, chance)
    if plan is None:
        return None
    calls = [_call(scene.things[index], chance) for index in plan.things]
    meaning = Meaning(tuple(phrase for phrase, _ in calls), plan.facts, plan.total)
    clear = plan.things in readings(meaning, scene, clearly=True)
    if not clear or readings(meaning, scene) != [plan.things]:
        return None
    return _realise(plan, calls, meaning, chance)


# -------------------------------------------------------------------------------- plans: what is said of what


def _plan(scene: Scene, chance: random.Random) -> _Plan | None:
    """A random kind of sentence about random things; those that near misses change are often among them."""
    order = list(range(len(scene.things)))
    if chance.random() < 0.7:
        order = [*chance.sample(order[:2], 2), *chance.sample(order[2:], len(order) - 2)]
    else:
        chance.shuffle(order)
    plan = chance.choices(list(KINDS), list(KINDS.values()))[0](scene, order, chance)
    if plan and len(plan.things) < min(4, len(order)) and chance.random() < 0.4:
        plan = _add_thing(plan, next(index for index in order if index not in plan.things), chance)
    if plan and len(order) > 2 and chance.random() < 0.12:
        plan = replace(plan, template=chance.choice(TOTAL).replace("*", plan.template), total=len(order))
    return plan


def _add_thing(plan: _Plan, thing: int, chance: random.Random) -> _Plan:
    also = chance.choice(ALSO).replace("{n}", f"{{{len(plan.things)}}}")
    return replace(plan, template=also.replace("*", plan.template), things=(*plan.things, thing))


def _list(_scene: Scene, order: list[int], chance: random.Random) -> _Plan:
    count = chance.randint(min(2, len(order)), min(4, len(order)))
    things = order[:count]
    chance.shuffle(things)
    return _Plan(chance.choice(LISTS[count]), tuple(things))


def _relate(scene: Scene, order: list[int], chance: random.Random) -> _Plan | None:
    fact = _true_fact(scene, order[:2], (0, 1), (*AROUND, *COMPARED), chance)
    if fact is None:
        return None
    if fact.relation in SIDE and chance.random() < 0.12:
        return _Plan(f"{{1}} has {{0}} {SIDE[fact.relation]}", tuple(order[:2]), (fact,))
    templates = COMPARE if fact.relation in COMPARED else RELATE
    return _Plan(chance.choice(templates), tuple(order[:2]), (fact,))


def _chain(scene: Scene, order: list[int], chance: random.Random) -> _Plan | None:
    if len(order) < 3:
        return None
    around = chance.choice(list(CHAIN))
    first = _true_fact(scene, order, (0, 1), AROUND, chance)
    second = _true_fact(scene, order, around, AROUND, chance)
    if first is None or second is None:
        return None
    return _Plan(chance.choice(CHAIN[around]), tuple(order[:3]), (first, second))


def _put(scene: Scene, order: list[int], chance: random.Random) -> _Plan | None:
    count = chance.randint(1, 2)
    facts = [_true_fact(scene, order, (index,), PLACES, chance) for index in range(count)]
    known = tuple(fact for fact in facts if fact is not None)
    return _Plan(chance.choice(PLACE[count]), tuple(order[:count]), known) if len(known) == count else None


def _between(scene: Scene, order: list[int], chance: random.Random) -> _Plan | None:
    for things in itertools.permutations(order, 3):
        fact = Fact("between", (0, 1, 2))
        if fact.fits([scene.things[index] for index in things], clearly=True):
            return _Plan(chance.choice(BETWEEN), things, (fact,))
    return None


Kind: TypeAlias = Callable[[Scene, list[int], random.Random], _Plan | None]
KINDS: dict[Kind, int] = {_list: 2, _relate: 5, _chain: 2, _put: 3, _between: 1}  # how often, of 13


def _true_fact(
    scene: Scene, order: list[int], slots: tuple[int, ...], relations: Sequence[str], chance: random.Random
) -> Fact | None:
    things = [scene.things[index] for index in order]
    facts = [Fact(relation, slots) for relation in relations]
    true = [fact for fact in facts if fact.fits(things, clearly=True)]
    return chance.choice(true) if true else None


# ------------------------------------------------------------------------------------ words for what is meant


def _call(thing: Thing, chance: random.Random) -> tuple[Phrase, list[str]]:
    """The facts and the words for one thing; its noun is the word that starts with "*"."""
    says_shape = chance.random() < 0.93
    says_colour = not says_shape or chance.random() < 0.93
    says_texture = thing.texture != "plain" and chance.random() < 0.7
    says_size = chance.random() < 0.3
    phrase = Phrase(
        shape=thing.shape if says_shape else None,
        colour=thing.colour if says_colour else None,
        size=thing.size if says_size else None,
        texture=thing.texture if says_texture else None,
    )
    said = [value for value in (phrase.size, phrase.texture, phrase.colour) if value is not None]
    adjectives = [chance.choice(ADJECTIVES[value]) for value in said]
    noun = "*" + chance.choice(NOUNS[phrase.shape])
    if phrase.colour and chance.random() < 0.1:
        after = chance.choice((["that", "is", adjectives[-1]], ["in", phrase.colour]))
        return phrase, [*adjectives[:-1], noun, *after]
    return phrase, [*adjectives, noun]


def _realise(
    plan: _Plan, calls: list[tuple[Phrase, list[str]]], meaning: Meaning, chance: random.Random
) -> Sentence:
    """Fill the plan's template, and note where each thing's noun comes to stand."""
    article = chance.choice(("a", "a", "the"))
    words: list[str] = []
    named: list[tuple[int, int]] = []
    for slot in plan.template.split():
        if slot.startswith("{"):
            which = int(slot[1:-1])
            called = calls[which][1]
            noun = next(place for place, word in enumerate(called) if word.startswith("*"))
            words.append(_article(article, called[0].lstrip("*")))
            named.append((len(words) + noun, plan.things[which]))
            words += [word.lstrip("*") for word in called]
        elif slot == "<n>":
            words.append(NUMBERS[plan.total or 0])
        elif slot.startswith("<"):
            words += chance.choice(SAID[plan.facts[int(slot[1:-1])].relation]).split()
        else:
            words.append(slot)
    return Sentence(_spell([*words, "."]), meaning, tuple(named))


def _article(article: str, word: str) -> str:
    return "an" if article == "a" and word[0] in "aeiou" else article


def _spell(words: Sequence[str]) -> str:
    """Words in a line, marks without a space before them, a capital at the beginning."""
    text = " ".join(words)
    for mark in ",.:":
        text = text.replace(f" {mark}", mark)
    return text[0].upper() + text[1:]
