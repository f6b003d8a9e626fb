"""This machine, this installation and an index -> facts, and what to do about those that are wrong."""
