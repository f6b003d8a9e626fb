"""Texts -> tokens: tokenizers, vocabularies, word vectors."""
