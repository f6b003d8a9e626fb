"""The text side of a checkpoint in; tables of our tokenizer and text encoder, and the vocabulary, out."""

import re
from collections.abc import Mapping
from typing import Any

from wordsight.errors import InputError
from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.system import Given
from wordsight.importers.vocabulary_reader import read_vocabulary, vocabulary_of
from wordsight.importers.weight_map import Rule
from wordsight.read.text.vocabulary import Vocabulary

TABLE = "txt.embed.weight"
PUBLISHED = {11353: "coco_precomp_vocab.json", 8481: "f30k_precomp_vocab.json"}  # words -> file
RULES = (
    Rule("txt.embed.", "text_encoder.words."),
    Rule("txt.rnn.", "text_encoder.reader."),
)


def recurrent(published: Published) -> dict[str, Any]:
    """The [text_encoder] table that the shapes of the word table and of the GRU tell."""
    layers = {
        match[1] for name in published.weights if (match := re.match(r"txt\.rnn\.weight_ih_l(\d+)", name))
    }
    rows, word_dim = published.size(TABLE, 2)
    return {
        "name": "recurrent",
        "vocabulary_size": rows,
        "word_dim": word_dim,
        "dim": published.size("txt.rnn.weight_ih_l0", 2)[0] // 3,  # three gates
        "cell": "gru",
        "layers": len(layers),
        "bidirectional": published.has("txt.rnn.weight_ih_l0_reverse"),
        "merge": "mean",
    }


def words(published: Published, given: Given) -> tuple[dict[str, Any], Vocabulary]:
    """The [tokenizer] table and its vocabulary, which must have a word for every row of the word table."""
    rows = published.size(TABLE, 2)[0]
    vocabulary = _vocabulary(published, given, rows)
    masked = vocabulary.mask_id is not None
    if rows not in (len(vocabulary), len(vocabulary) + 1 - masked):
        both = "" if masked else f" ({len(vocabulary) + 1} with <mask>)"
        raise InputError(
            f"the vocabulary {given.vocabulary or 'in the checkpoint'} has {len(vocabulary)} words{both}, "
            f"but the word table of {published.path} has {rows} rows{_file_of(rows)}"
        )
    return {
        "name": "words",
        "word_splitter": "treebank",
        "mask": masked or rows > len(vocabulary),
    }, vocabulary


def _vocabulary(published: Published, given: Given, rows: int) -> Vocabulary:
    """The file that was given, which may not contradict the words that CHAN keeps among its options."""
    inside = published.option("word2idx", None)
    inside_vocabulary = (
        vocabulary_of(inside, f"{published.path}: word2idx") if isinstance(inside, Mapping) else None
    )
    if given.vocabulary is None:
        if inside_vocabulary is None:
            raise InputError(
                f"give the vocabulary of {published.path} with --vocabulary: its word table has {rows} rows"
                f"{_file_of(rows)}"
            )
        return inside_vocabulary
    read = read_vocabulary(given.vocabulary)
    if inside_vocabulary is not None and read.with_mask() != inside_vocabulary.with_mask():
        raise InputError(
            f"the vocabulary {given.vocabulary} orders its words otherwise than the one that "
            f"{published.path} was trained with and holds; leave --vocabulary out"
        )
    return read


def _file_of(rows: int) -> str:
    for size, file in PUBLISHED.items():
        if rows in (size, size + 1):
            return f", as {file} has words" + (" with <mask> after them" if rows > size else "")
    return "; take the file it was trained with"
