"""The `wordsight` command."""
