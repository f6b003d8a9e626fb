"""A text -> the text with one thing wrong: a colour, a number, a size, a side, a person or a thing.

Such texts are negatives that only a model that binds words to their objects can tell from the right one
(Yuksekgonul et al., "When and why vision-language models behave like bags-of-words", ICLR 2023).
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from wordsight.errors import InputError
from wordsight.learn.augmentation import WordIds
from wordsight.read.text.base import Tokenizer

GROUPS = """
red orange yellow green blue violet purple pink brown black white gray
one two three four five six
small large
little big
tall short
young old
left right
above below
over under
inside outside
man woman boy girl baby
men women boys girls
dog cat horse bird cow sheep
dogs cats horses birds cows
shirt jacket dress coat sweater
hat helmet cap
beach field street park lake mountain forest pool
car truck bus bike motorcycle boat train
ball frisbee stick
running sitting standing jumping swimming sleeping
circle square triangle star ring cross diamond heart
"""  # one group a line: no two words of a group can be said of the same thing


class SwapWords:
    """Exchange two words of a group, or replace one by another of its group.

    Works on what ``tokenizer.words`` returns, like ``DropWords``. Words that the tokenizer does not know, or
    splits, are left out of their group.

    Raises InputError for a tokenizer that knows no group of at least two words.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        groups = [_known(line.split(), tokenizer) for line in GROUPS.strip().splitlines()]
        self.groups = [group for group in groups if len(group) > 1]
        if not self.groups:
            raise InputError(
                "swap_words needs words that can be swapped, and the vocabulary has no two colours, numbers, "
                "persons or the like; leave swap_words out"
            )
        self.group_of = {ids: n for n, group in enumerate(self.groups) for ids in group}

    def __call__(self, words: WordIds, random: np.random.Generator) -> list[list[int]] | None:
        """The wrong text; None for a text without a word that can be swapped."""
        named = [tuple(word) for word in words]
        places = [n for n, word in enumerate(named) if word in self.group_of]
        if not places:
            return None
        swapped = [list(word) for word in words]
        of_one_group = [
            (one, other)
            for one, other in combinations(places, 2)
            if named[one] != named[other] and self.group_of[named[one]] == self.group_of[named[other]]
        ]
        if of_one_group and random.random() < 0.5:
            one, other = of_one_group[int(random.integers(len(of_one_group)))]
            swapped[one], swapped[other] = swapped[other], swapped[one]
            return swapped
        place = places[int(random.integers(len(places)))]
        group = self.groups[self.group_of[named[place]]]
        others = [word for word in group if word != named[place]]
        swapped[place] = list(others[int(random.integers(len(others)))])
        return swapped


def _known(words: Sequence[str], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """The ids of those words that the tokenizer knows as one word."""
    vocabulary = getattr(tokenizer, "vocabulary", None)  # wordpieces can spell any word
    known = [word for word in words if vocabulary is None or word in vocabulary]
    split = [tokenizer.words(word) for word in known]
    return [tuple(pieces[0]) for pieces in split if len(pieces) == 1]
