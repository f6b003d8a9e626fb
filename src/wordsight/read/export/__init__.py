"""Pairs, pictures or features -> files that other programs read."""
