"""Settings for weights by the start of their names: which start a name falls under, and which are unknown."""

from collections.abc import Iterable

from wordsight.errors import InputError


def under(name: str, start: str) -> bool:
    """ "text_encoder.bert" holds "text_encoder.bert.layer.0", and not "text_encoder.berta"."""
    return f"{name}.".startswith(f"{start.rstrip('.')}.")


def longest_start(name: str, starts: Iterable[str]) -> str:
    """The most special of the starts that the name falls under; "" if there is none."""
    return max((start for start in starts if under(name, start)), key=len, default="")


def refuse_unknown(setting: str, starts: Iterable[str], names: Iterable[str]) -> None:
    """Every start must be that of some weight."""
    names = list(names)
    for start in starts:
        if not any(under(name, start) for name in names):
            first = sorted({".".join(name.split(".")[:2]) for name in names})
            raise InputError(
                f'[training] {setting}: no weight is called "{start}" or "{start}....", '
                f"known: {', '.join(first)}"
            )
