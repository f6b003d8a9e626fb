"""Runs: a configuration -> a trained model in a folder, and its numbers."""
