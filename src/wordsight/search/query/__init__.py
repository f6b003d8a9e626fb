"""A query text -> its words, operators and vectors."""
