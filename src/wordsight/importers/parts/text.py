"""The text side of CHAN and VSE-infinity: words and a GRU, or word pieces and a BERT."""

from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.parts import bert, words
from wordsight.importers.system import Given, Tables
from wordsight.read.text.vocabulary import Vocabulary

RULES = (*words.RULES, *bert.RULES)


def text(published: Published, given: Given) -> tuple[Tables, Vocabulary | None]:
    """The [tokenizer] and [text_encoder] tables; BERT's word pieces are no Vocabulary of ours."""
    if published.has("txt.bert."):
        return {"tokenizer": bert.wordpieces(given), "text_encoder": bert.bert(published, given)}, None
    tokenizer, vocabulary = words.words(published, given)
    return {"tokenizer": tokenizer, "text_encoder": words.recurrent(published)}, vocabulary
