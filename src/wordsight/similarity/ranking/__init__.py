"""Scores -> exact ranks."""
