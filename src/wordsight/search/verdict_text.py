"""Hits -> one sentence for a person: how many match, and what the closest are missing where none does.

Command line, REST interface and page all say this sentence.
"""

from wordsight.search.results import Hit, Hits

POSSIBLE = 0.1  # from this probability on the sentence does not deny a match, it only says that none is sure
CALIBRATE = (
    "no probabilities: this index's model was never calibrated; run wordsight calibrate MODEL --index INDEX"
)


def verdict_text(hits: Hits, kind: str) -> str:
    """``kind``: pictures or sentences."""
    if hits.itself:
        return _similar(hits)
    if not hits.total:
        return f"No {kind[:-1]} passes the filters and operators"
    if hits.relevant:
        return f"{hits.relevant:,} of {_among(hits, kind)} {'matches' if hits.relevant == 1 else 'match'}"
    return _nothing(hits, kind)


def _among(hits: Hits, kind: str) -> str:
    return f"{hits.total:,} {kind}" if hits.exact else f"a shortlist of {hits.total:,} {kind}"


def _similar(hits: Hits) -> str:
    if not hits.total:
        return "This picture is in the index, and no other passes the filters and operators"
    if not hits.relevant:
        return "This picture is in the index. No other is surely similar; these come closest"
    return f"This picture is in the index. Similar: {hits.relevant:,} of {hits.total:,} others"


def _nothing(hits: Hits, kind: str) -> str:
    """Words that the likeliest picture does not have are named where it has others, or may have them."""
    best = max(hits.hits, key=lambda hit: hit.probability or 0.0, default=None)
    judged = [word for word in best.words if word.judged] if best else []
    unknown = [word.word for word in judged if not word.known]
    missing = [word.word for word in judged if word.state == "not found"]
    if unknown:
        return f"No {kind[:-1]} matches; the model does not know {_listed(unknown)}"
    if best is None or hits.query is None or kind != "pictures":
        surely = "" if best is None or best.probability is None else "surely "
        return f"No {kind[:-1]} {surely}matches{_chance(best)}"
    if not missing and judged:
        return f"No picture surely shows {'all of it' if len(judged) > 1 else 'it'}{_chance(best)}"
    if len(missing) == len(judged):
        return f"No picture surely matches{_chance(best)}" if _is_possible(best) else "No picture matches"
    return f"No picture shows all of it; the closest are missing {_listed(missing)}"


def _is_possible(best: Hit) -> bool:
    return best.probability is not None and best.probability >= POSSIBLE


def _chance(best: Hit | None) -> str:
    if best is None or best.probability is None:
        return ""
    return f"; the likeliest has a probability of {percent(best.probability)}"


def _listed(words: list[str]) -> str:
    named = [f"*{word}*" for word in dict.fromkeys(words)]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def percent(probability: float) -> str:
    """A whole number of percent; nothing but certainty is 0 or 100."""
    return f"{min(99, max(1, round(100 * probability)))} %"
