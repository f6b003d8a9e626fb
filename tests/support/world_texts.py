"""Texts of the generated world for tests of runs."""

WORDS = ["red", "blue", "green", "dog", "cat", "bird", "runs", "sleeps"]


def texts_of(row: int) -> list[str]:
    """Five texts that name the row's own three words."""
    named = [WORDS[row % 3], WORDS[3 + row // 3 % 3], WORDS[6 + row // 9 % 2]]
    return [" ".join(["a", *named]), " ".join(["the", *named]), *[" ".join(named)] * 3]
