"""The text side of CHAN and VSE-infinity: words and a GRU, or word pieces and a BERT."""

from wordsight.adopt import bert_in, words_in
from wordsight.adopt.published import Published
from wordsight.adopt.system import Given, Tables
from wordsight.read.vocabulary import Vocabulary

RULES = (*words_in.RULES, *bert_in.RULES)


def text(published: Published, given: Given) -> tuple[Tables, Vocabulary | None]:
    """The [tokenizer] and [text_encoder] tables; BERT's word pieces are no Vocabulary of ours."""
    if published.has("txt.bert."):
        return {"tokenizer": bert_in.wordpieces(given), "text_encoder": bert_in.bert(published, given)}, None
    tokenizer, vocabulary = words_in.words(published, given)
    return {"tokenizer": tokenizer, "text_encoder": words_in.recurrent(published)}, vocabulary
