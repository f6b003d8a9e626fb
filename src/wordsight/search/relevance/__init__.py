"""Scores of queries without an answer -> the relevance threshold."""
