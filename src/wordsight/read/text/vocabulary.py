"""Texts in, a Vocabulary of their frequent words out; SCAN's JSON in and out."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.atomic import atomic_file
from wordsight.read.text.word_rules import split_words

SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")  # ids 0 to 3 in every vocabulary of the SCAN family
PAD, START, END, UNKNOWN = range(4)
MASK = "<mask>"


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows; the place of a word is its id."""

    entries: tuple[str, ...]  # the four specials first

    def __post_init__(self) -> None:
        if self.entries[:4] != SPECIALS:
            raise InputError(
                f"a vocabulary starts with {', '.join(SPECIALS)}; "
                f"this one starts with {', '.join(self.entries[:4]) or 'nothing'}"
            )
        twice = [word for word, times in Counter(self.entries).items() if times > 1]
        if twice:
            raise InputError(f'"{twice[0]}" is in the vocabulary twice; every word has one id')

    @classmethod
    def learn(cls, texts: Iterable[str], word_splitter: str = "treebank", min_count: int = 4) -> "Vocabulary":
        """The words seen ``min_count`` times or more, most frequent first, equally frequent ones by alphabet.

        Source: SCAN counts train and dev captions by the "treebank" rule and keeps words from 4 on.
        """
        counts = count_words(texts, word_splitter)
        frequent = [word for word, times in counts.items() if times >= min_count]
        if not frequent:
            raise InputError(_nothing_frequent(counts, min_count))
        return cls((*SPECIALS, *sorted(frequent, key=lambda word: (-counts[word], word))))

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read SCAN's JSON: ``word2idx``, ``idx2word`` with text keys, ``idx``, which must agree."""
        path = Path(path).expanduser()
        if not path.is_file():
            raise MissingFileError(
                f"there is no vocabulary {path}; learn one, or give the path of SCAN's JSON"
            )
        try:
            return cls(read_entries(path))
        except ValueError as error:
            raise InputError(f"{path} is not a vocabulary: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write SCAN's JSON; the file appears whole or not at all."""
        write_entries(Path(path), self.entries)

    def __len__(self) -> int:
        """The number of ids, specials included."""
        return len(self.entries)

    def __contains__(self, word: object) -> bool:
        return word in self._places

    def ids(self, words: Iterable[str]) -> list[int]:
        """One id per word; ``<unk>`` for words not known. A word spelt like a special is not known."""
        return [self._places.get(word, UNKNOWN) for word in words]

    @property
    def mask_id(self) -> int | None:
        return len(self) - 1 if self.entries[-1] == MASK else None

    def with_mask(self) -> "Vocabulary":
        """Append ``<mask>`` to the words (CHAN), unless it is there already."""
        return self if self.mask_id is not None else type(self)((*self.entries, MASK))

    def unknown_rate(self, texts: Iterable[str], word_splitter: str = "treebank") -> float:
        """The share of word occurrences, in [0, 1], that are not in the vocabulary; 0 without any words."""
        counts = count_words(texts, word_splitter)
        return sum(times for word, times in counts.items() if word not in self) / max(counts.total(), 1)

    @cached_property
    def _places(self) -> dict[str, int]:
        hidden = {*SPECIALS, MASK}
        return {word: place for place, word in enumerate(self.entries) if word not in hidden}


def count_words(texts: Iterable[str], word_splitter: str = "treebank") -> Counter[str]:
    """How often each word occurs; words spelt like a special are left out."""
    counts: Counter[str] = Counter()
    for text in several(texts):
        counts.update(split_words(text, word_splitter))
    for special in (*SPECIALS, MASK):
        counts.pop(special, None)
    return counts


def several(texts: Iterable[str]) -> Iterable[str]:
    """The texts one by one; a single text, which would be taken for a list of its letters, is an error.

    Raises TypeError for one text instead of a list, InputError with its place for an item that is no text.
    """
    if isinstance(texts, str):
        raise TypeError(f'expected a list of texts, not one text; give ["{texts[:60]}"]')
    return _only_texts(texts)


def _only_texts(texts: Iterable[str]) -> Iterator[str]:
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"texts[{place}] is {text!r} ({type(text).__name__}), which is no text; leave it out, or "
                "give a text in its place"
            )
        yield text


def read_entries(path: Path) -> tuple[str, ...]:
    """The words of SCAN's JSON by id; a ValueError says what is wrong with it."""
    return _entries(_read_json(path))


def write_entries(path: Path, entries: Sequence[str]) -> None:
    """SCAN's JSON, whole or not at all: the place of a word is its id."""
    content = {
        "word2idx": {word: place for place, word in enumerate(entries)},
        "idx2word": {str(place): word for place, word in enumerate(entries)},
        "idx": len(entries),
    }
    with atomic_file(path) as file:
        file.write(json.dumps(content, ensure_ascii=False).encode())


def _nothing_frequent(counts: Counter[str], min_count: int) -> str:
    if not counts:
        return "there are no words in the texts to learn a vocabulary from"
    word, times = counts.most_common(1)[0]
    return f'no word is seen {min_count} times; the most frequent, "{word}", {times} times; lower min_count'


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(
            "it is not text; a pickled vocabulary has to be written as JSON (word2idx, idx2word, idx) first"
        ) from None
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise InputError(f"it is not JSON, or cut short ({error}); copy it again") from None


def _entries(content: Any) -> tuple[str, ...]:
    """The words by id, from three tables that must say the same."""
    keys = ("word2idx", "idx2word", "idx")
    if not isinstance(content, dict) or any(key not in content for key in keys):
        found = (
            ", ".join(map(str, list(content)[:4])) if isinstance(content, dict) else type(content).__name__
        )
        raise InputError(f"expected the keys {', '.join(keys)}; found {found or 'none'}")
    places, names, size = (content[key] for key in keys)
    if not isinstance(places, dict) or not isinstance(names, dict) or not isinstance(size, int):
        raise InputError("word2idx and idx2word must be tables and idx a number")
    if not len(places) == len(names) == size:
        raise InputError(f"word2idx has {len(places)} words, idx2word {len(names)}, and idx says {size}")
    gap = next((place for place in range(size) if str(place) not in names), None)
    if gap is not None:
        raise InputError(f"idx2word has no id {gap}; ids run from 0 to {size - 1} without gaps")
    entries = [names[str(place)] for place in range(size)]
    return tuple(_agreeing(entries, places))


def _agreeing(entries: Sequence[Any], places: dict[str, Any]) -> Iterable[str]:
    for place, word in enumerate(entries):
        if not isinstance(word, str) or places.get(word) != place:
            raise InputError(f'id {place} is "{word}" in idx2word, but word2idx says {places.get(word)}')
        yield word
