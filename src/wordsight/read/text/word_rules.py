"""Text in, its words out, by one of the rules that published vocabularies were made with.

``treebank``    Penn Treebank words within sentences, as SCAN, VSE-infinity, CHAN and SGRAF get from NLTK's
                ``word_tokenize``: its word rules are met exactly, sentences end as ``split_sentences`` says
``karpathy``    hyphens become spaces, ``. , ! ? ; : ' "`` vanish: Flickr8k's tokens
``cmpl``        ASCII punctuation vanishes, so that "t-shirt" becomes "tshirt": CMPL on CUHK-PEDES
``cmpl-cased``  the same, and "The" is not "the": the PyTorch port of CMPL

All but the last make the text lower-case first.
"""

import re
import string
from collections.abc import Callable

from wordsight.errors import InputError

# Words that keep their full stop inside a text, since it does not end a sentence.
ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st jr sr rev gen col capt lt sgt maj sen gov messrs ave blvd rd mt ft dept
    inc ltd corp co bros vs etc approx e.g i.e a.m p.m u.s u.k u.n d.c j.p l.a n.y b.c a.d ph.d
    """.split()  # noqa: SIM905
)

_SENTENCE_END = re.compile(r"""[.?!]([])}"']*)\s+""")

_JOINED = {
    "cannot": "can not",
    "d'ye": "d 'ye",
    "gimme": "gim me",
    "gonna": "gon na",
    "gotta": "got ta",
    "lemme": "lem me",
    "more'n": "more 'n",
    "wanna": "wan na",
}
_ANY_JOINED = re.compile(r"\b(?:(?:cannot|d'ye|gimme|gonna|gotta|lemme|more'n)\b|wanna(?=\s))")

Rule = tuple[re.Pattern[str], str]

_OPENING_QUOTES: tuple[Rule, ...] = (
    (re.compile(r"[«“‘„]|``?"), r" \g<0> "),
    (re.compile(r'^"'), " `` "),
    (re.compile(r"""(?<=[ (\[{<])(?:"|'')"""), " `` "),
    (re.compile(r"(?<!\w)'(?=\w)(?!(?:re|ve|ll|[mtsdn])\b)"), "' "),  # 'stop -> ' stop, but 's stays whole
)
_PUNCTUATION: tuple[Rule, ...] = (
    (re.compile(r"""(?<=[^.])\.([])}>"'»”’ ]*)$"""), r" . \1 "),  # only the full stop that ends the sentence
    (re.compile(r"([:,])(\D|$)"), r" \1 \2"),  # 3,500 and 11:20 stay whole
    (re.compile(r"\.{2,}|[;@#$%&?!‒–—―]"), r" \g<0> "),
    (re.compile(r"(?<=[^'])' "), " ' "),
    (re.compile(r"[]*[(){}<>]|--"), r" \g<0> "),
)
_CLOSING_QUOTES: tuple[Rule, ...] = (
    (re.compile(r"[»”’]|''"), r" \g<0> "),
    (re.compile('"'), " '' "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<=[^' ])('[smd]?) "), r" \1 "),
    (re.compile(r"(?<=[^' ])('ll|'re|'ve|n't) "), r" \1 "),
)
_OLD_FORMS: tuple[Rule, ...] = (
    (re.compile(r" ('t)(is)\b"), r" \1 \2 "),
    (re.compile(r" ('t)(was)\b"), r" \1 \2 "),
)
_PLAIN = re.compile(r"\w+(?:-\w+)*(?:,? \w+(?:-\w+)*)*(?: ?\.)?")  # 97 % of Flickr30k


def split_words(text: str, word_splitter: str = "treebank") -> list[str]:
    """The words of a text, in order. Raises ValueError for an unknown rule."""
    if word_splitter not in RULES:
        raise InputError(f'word rule "{word_splitter}" is not known; known: {", ".join(sorted(RULES))}')
    return RULES[word_splitter](text if word_splitter in CASED else text.lower())


def split_sentences(text: str) -> list[str]:
    """Cut after ``. ? !`` and a space, unless the full stop belongs to an abbreviation or an initial."""
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        if end[1] or not _is_abbreviated(text[max(start, end.start() - 20) : end.start() + 1]):
            sentences.append(text[start : end.end()].strip())
            start = end.end()
    return [sentence for sentence in (*sentences, text[start:].strip()) if sentence]


def _is_abbreviated(text: str) -> bool:
    """Whether the text ends with a full stop that belongs to its last word."""
    word = text.split()[-1].lstrip("\"'`([{")
    stem = word[:-1].lower()
    return word.endswith(".") and (stem in ABBREVIATIONS or (len(stem) == 1 and stem.isalpha()))


def _treebank(text: str) -> list[str]:
    if _PLAIN.fullmatch(text) and not any(joined in text for joined in _JOINED):
        return (
            text.replace(",", " ,").replace(".", " .").split()
        )  # what the rules below would say, ten times faster
    return [word for sentence in split_sentences(text) for word in _treebank_words(sentence)]


def _treebank_words(sentence: str) -> list[str]:
    """Put spaces around what is a word of its own, rule by rule, and split there; the order matters."""
    text = _apply(_PUNCTUATION, _apply(_OPENING_QUOTES, sentence))
    text = _apply(_CLOSING_QUOTES, f" {text} ")
    text = _ANY_JOINED.sub(lambda joined: f" {_JOINED[joined[0]]} ", text)
    return _apply(_OLD_FORMS, text).split()


def _apply(rules: tuple[Rule, ...], text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def _karpathy(text: str) -> list[str]:
    return text.translate(_KARPATHY).split()


def _cmpl(text: str) -> list[str]:
    return text.translate(_CMPL).split()


_KARPATHY = str.maketrans("-", " ", ".,!?;:'\"")
_CMPL = str.maketrans("", "", string.punctuation)

RULES: dict[str, Callable[[str], list[str]]] = {
    "treebank": _treebank,
    "karpathy": _karpathy,
    "cmpl": _cmpl,
    "cmpl-cased": _cmpl,
}
CASED = ("cmpl-cased",)
