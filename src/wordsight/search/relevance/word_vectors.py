"""Words -> a vector each, for the rules of presence."""

from collections.abc import Sequence

from jaxtyping import Float

from wordsight.matcher import Matcher
from wordsight.search.query.encoded import words_of
from wordsight.tensors import F, Tensor, torch

BATCH = 64


def word_vectors(matcher: Matcher, words: Sequence[str]) -> Float[Tensor, "word dim"]:
    """Each word alone through the text encoder, of length 1: the mean of its pieces."""
    vectors = []
    for start in range(0, len(words), BATCH):
        some = list(words[start : start + BATCH])
        encoded = matcher.encode_texts(some)
        for row, word in enumerate(some):
            one = encoded.vectors[row].float().cpu()
            if encoded.vectors.shape[1] > 1:
                one = one[[item for each in words_of(matcher.tokenizer, word) for item in each.items]]
            vectors.append(F.normalize(one, dim=-1).mean(0))
    return F.normalize(torch.stack(vectors), dim=-1)
