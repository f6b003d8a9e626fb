"""A Query and a matcher -> EncodedQuery: the vectors that are scored, and which of them belong to each word.

Exact meaning of the operators:

``word^n``  The word's vectors stand n times in the set of the text: with mean pooling the score is the mean
            with weights n, with log-sum-exp T log sum n exp(found / T).
``+word``   The word, encoded within its sentence, must reach its level (relevance/threshold.py).
``-word``   The word (or the quoted words), encoded alone: pictures in which all of them reach their levels
            are left out.
"""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float

from wordsight.inflection import lemma
from wordsight.matcher import Matcher
from wordsight.read.text.base import Tokenizer, word_starts
from wordsight.search.query.parser import Query, QueryError, Term
from wordsight.search.query.spelling import Suggestion, suggestions
from wordsight.search.query.stop_words import names_something
from wordsight.search.query.unread import unread_end
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment
from wordsight.similarity.word_alignment import shares_by_word
from wordsight.tensors import Tensor, torch

TREEBANK_QUOTES = ("``", "''")  # how that tokenizer spells a quotation mark


@dataclass(frozen=True)
class EncodedWord:
    """One word of a text."""

    text: str
    items: tuple[int, ...]  # its vectors in the set; a repeated word has more
    start: int  # in the sentence, from 0
    stop: int
    known: bool = True  # False: not in the vocabulary
    required: bool = False
    weight: int = 1


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A text as it is scored."""

    sentence: str
    set: EmbeddingSet  # of one text
    words: tuple[EncodedWord, ...]
    whole: bool  # the text is one vector; its only "word" is the sentence
    excluded: tuple["EncodedQuery", ...] = ()
    unread: str = ""  # its end beyond the model's limit
    suggestions: tuple[Suggestion, ...] = ()  # for unknown words

    @property
    def is_known(self) -> bool:
        """Whether the vocabulary has any content word of the text; without one, scores mean nothing."""
        return self.words[0].known if self.whole else _any_known(self.words)

    def found(self, of_items: Float[Tensor, "pair item"]) -> Float[Tensor, "pair word"]:
        """Strength of each word: the mean over its pieces."""
        return self.by_word(of_items[:, None])[:, 0]

    def shares(self, alignments: Sequence[Alignment]) -> Float[Tensor, "pair region word"]:
        """Attention of each word: the mean over its pieces."""
        return self.by_word(shares_by_word(alignments))

    def by_word(self, of_items: Float[Tensor, "pair row item"]) -> Float[Tensor, "pair row word"]:
        return torch.stack([of_items[:, :, list(word.items)].mean(2) for word in self.words], 2)


def encode_query(matcher: Matcher, query: Query) -> EncodedQuery:
    """Encode a query and apply its operators.

    Raises ValueError for a sentence that the tokenizer refuses, QueryError for an operator without a word.
    """
    plain = encode_plain_text(matcher, query.sentence)
    excluded = tuple(encode_plain_text(matcher, text) for text in query.excluded)
    if plain.whole:
        return _of_one_vector(plain, query, excluded)
    words = list(plain.words)
    for term in query.terms:
        _mark(words, term)
    repeated = _repeated(plain.set, words)
    return replace(plain, set=repeated, words=tuple(words), excluded=excluded)


def encode_plain_text(matcher: Matcher, text: str) -> EncodedQuery:
    """Encode a text without operators."""
    encoded, words = matcher.encode_texts([text]).detach(), words_of(matcher.tokenizer, text)
    whole = encoded.vectors.shape[1] == 1
    return EncodedQuery(
        sentence=text,
        set=encoded,
        words=(EncodedWord(text, (0,), 0, len(text), _any_known(words)),) if whole else tuple(words),
        whole=whole,
        unread=unread_end(matcher.tokenizer, text, words),
        suggestions=_suggestions(matcher.tokenizer, words),
    )


def _suggestions(tokenizer: Tokenizer, words: Sequence[EncodedWord]) -> tuple[Suggestion, ...]:
    unknown = dict.fromkeys(word.text for word in words if not word.known)
    return suggestions(unknown, tokenizer.vocabulary.entries) if unknown else ()  # type: ignore[attr-defined]


def probable_typos(
    tokenizer: Tokenizer, text: str, found: Collection[str], captions: Sequence[str]
) -> tuple[Suggestion, ...]:
    """Words of a text that are spelt from pieces and one slip from a word of the captions.

    ``captions`` are lemmas that the training captions mention; without any, words of one piece serve.
    Rare words are spelt from pieces, too, so more than one slip says nothing. ``found`` words are right.
    """
    pieced = dict.fromkeys(word.text for word in words_of(tokenizer, text) if len(word.items) > 1)
    rare = [word for word in pieced if word not in found and lemma(word) not in captions]
    return suggestions(rare, captions or tokenizer.whole_words(), most=1) if rare else ()


def _any_known(words: Sequence[EncodedWord]) -> bool:
    """Whether any content word is in the vocabulary; an emoji is no content word."""
    naming = [word.known for word in words if names_something(word.text)]
    return any(naming or [word.known for word in words])


def words_of(tokenizer: Tokenizer, text: str) -> list[EncodedWord]:
    """The words of a text as the tokenizer splits them: wordpieces joined, letters as in the text."""
    words, labels = tokenizer.words(text), tokenizer.labels(text)
    folded, places = _folded(text)
    found, cursor = [], 0
    vocabulary = getattr(tokenizer, "vocabulary", None)  # wordpieces can spell any word
    for first, pieces in zip(word_starts(tokenizer, text, words), words, strict=True):
        items = range(first, first + len(pieces))
        label = "".join(labels[item].removeprefix("##") for item in items)
        known = vocabulary is None or label in vocabulary
        label = '"' if label in TREEBANK_QUOTES else label
        folded_label = _fold(label)
        at = folded.find(folded_label, cursor)
        if folded_label and at >= 0:
            cursor = at + len(folded_label)
            start, stop = places[at], places[cursor - 1] + 1
            found.append(EncodedWord(text[start:stop], tuple(items), start, stop, known))
        else:  # the tokenizer spells it differently
            found.append(EncodedWord(label, tuple(items), -1, -1, known))
    return found


def _mark(words: list[EncodedWord], term: Term) -> None:
    """Set the operator of a term on each of its words."""
    meant = [n for n, word in enumerate(words) if word.start < term.stop and word.stop > term.start]
    if not meant:
        raise QueryError("no word of the model follows this operator; remove the operator", term.position)
    for n in meant:
        words[n] = replace(words[n], required=term.required, weight=term.weight)


def _repeated(text: EmbeddingSet, words: Sequence[EncodedWord]) -> EmbeddingSet:
    again = [item for word in words for item in word.items * (word.weight - 1)]
    if not again:
        return text
    order = [*range(text.vectors.shape[1]), *again]
    return EmbeddingSet(text.vectors[:, order], text.mask[:, order])


def _of_one_vector(plain: EncodedQuery, query: Query, excluded: tuple[EncodedQuery, ...]) -> EncodedQuery:
    """The query of a one-vector text; + and ^ need a vector per word."""
    if query.terms:
        raise QueryError(
            "this model encodes a sentence as one vector, so single words cannot be required or weighted; "
            "remove + and ^ (- works: excluded words are encoded alone)",
            query.terms[0].position,
        )
    return replace(plain, excluded=excluded)


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The text without case and accents, and the original position of each letter."""
    if text.isascii():
        return text.lower(), range(len(text))
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text):
        folded = _fold(letter)
        letters.append(folded)
        places += [place] * len(folded)
    return "".join(letters), places


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    bare = (letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return "".join(bare).casefold()
