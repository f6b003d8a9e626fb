"""One vector per image and text -> CMPL's losses: projection matching (CMPM) and classification (CMPC)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from wordsight.errors import InputError
from wordsight.learn.loss import Loss
from wordsight.learn.negatives import matches
from wordsight.pairs import EncodedPairs
from wordsight.registry.limits import Share, Whole
from wordsight.sets import EmbeddingSet

EPSILON = 1e-8


class Projection(Loss):
    """CMPM + CMPC (Zhang and Lu, ECCV 2018): vectors projected on the directions of the other modality.

    ``cmpm``             weight of projection matching: how the projections of a batch are shared out must
                         equal who belongs to whom (``match_projections``)
    ``cmpc``             weight of projection classification: each vector, projected on its own partner, must
                         name its identity (``classify_projections``); 0 = without, and without its weights
    ``target``           how equal partners share: "count" each an equal part of 1; "l2" parts whose squares
                         add up to 1, as in the PyTorch port: a constant less where there are several
    ``label_smoothing``  share of the classification target spread over all identities
    ``classes``, ``dim`` identities of the training pairs, and size of the vectors; only ``cmpc`` needs them,
                         and a configuration gets them from its data and encoders

    It reads lengths too: encoders do not normalize. The scores are not used. Identities are compared as
    whole numbers; for ``cmpc`` they are 0 to ``classes`` - 1 (``PairSet.numbered``). The class weights are
    the loss's, not the matcher's: a saved matcher does not hold them.
    """

    def __init__(
        self,
        cmpm: float = 1.0,
        cmpc: float = 0.0,
        target: str = "count",
        label_smoothing: Share = 0.0,
        classes: Whole = 0,
        dim: Whole = 0,
    ):
        super().__init__()
        if target not in ("count", "l2"):
            raise InputError(f'target "{target}" is not known; known: count, l2')
        if min(cmpm, cmpc) < 0 or cmpm + cmpc == 0:
            raise InputError(f"cmpm = {cmpm} and cmpc = {cmpc}; expected weights of 0 or more, one above 0")
        if cmpc and min(classes, dim) < 1:
            raise InputError(
                f"cmpc = {cmpc} needs classes (how many identities are trained on) and dim (of the vectors); "
                f"they are {classes} and {dim}"
            )
        self.cmpm = cmpm
        self.cmpc = cmpc
        self.target = target
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.dim = dim
        self.weight = nn.Parameter(torch.empty(dim, classes)) if cmpc else None
        if self.weight is not None:
            nn.init.xavier_uniform_(self.weight)

    def forward(self, pairs: EncodedPairs) -> Float[Tensor, ""]:
        weighted = [getattr(self, name) * part for name, part in self.parts(pairs).items()]
        return torch.stack(weighted).sum()

    def parts(self, pairs: EncodedPairs) -> dict[str, Float[Tensor, ""]]:
        """CMPM and CMPC, unweighted, each the sum of both ways; one without weight is left out."""
        images, texts = vector_of_each(pairs.images), vector_of_each(pairs.texts)
        found: dict[str, Tensor] = {}
        if self.cmpm:
            match = matches(pairs, same_identity=True)
            of_images = match_projections(images, texts, match, self.target)
            found["cmpm"] = of_images + match_projections(texts, images, match, self.target)
        if self.weight is not None:
            self._check(pairs.identities, images)
            queries, partners = torch.cat([images, texts]), torch.cat([texts, images])
            labels = pairs.identities.repeat(2)
            mean = classify_projections(queries, partners, self.weight, labels, self.label_smoothing)
            found["cmpc"] = 2 * mean  # the sum of both ways, from one matrix product
        return found

    def _check(self, identities: Int[Tensor, " pair"], vectors: Float[Tensor, "pair dim"]) -> None:
        if vectors.shape[1] != self.dim:
            raise InputError(
                f"the vectors have {vectors.shape[1]} numbers, but the class weights {self.dim}; "
                "set [loss] dim to the size that the encoders return, or leave it out"
            )
        low, high = int(identities.min()), int(identities.max())
        if low < 0 or high >= self.classes:
            raise InputError(
                f"identity {low if low < 0 else high} is outside of the {self.classes} classes, which are "
                f"numbered 0 to {self.classes - 1}; train on PairSet.numbered(), and set [loss] classes to "
                "the number of its identities, or leave it out"
            )


def match_projections(
    queries: Float[Tensor, "pair dim"],
    candidates: Float[Tensor, "pair dim"],
    match: Bool[Tensor, "pair pair"],
    target: str = "count",
) -> Float[Tensor, ""]:
    """Mean over the queries of sum_j p_j log(p_j / q_j): p is the softmax of the query's projections on the
    candidates' directions, q the share of each candidate that matches (CMPL, equations 1 to 5).

    A query's length is the softmax's inverse temperature, and it is learned; the candidates' do not matter.
    Mass on what does not match costs up to log(1 / 1e-8) = 18.4 for each unit of it.
    """
    shares = F.softmax(queries @ unit(candidates).T, dim=1)
    counts = match.sum(1, keepdim=True).to(queries.dtype)
    wanted = match / (counts if target == "count" else counts.sqrt())
    return (shares * (EPSILON + shares / (wanted + EPSILON)).log()).sum(1).mean()


def classify_projections(
    queries: Float[Tensor, "pair dim"],
    candidates: Float[Tensor, "pair dim"],
    weight: Float[Tensor, "dim class"],
    labels: Int[Tensor, " pair"],
    label_smoothing: Share = 0.0,
) -> Float[Tensor, ""]:
    """Mean cross entropy of each query's class, read from its projection on its own candidate's direction
    and class weights of length 1 (CMPL, equations 6 to 9)."""
    direction = unit(candidates)
    length = (queries * direction).sum(1, keepdim=True)  # signed: a partner that looks away turns the logits
    norms = weight.norm(dim=0).clamp(min=1e-12)  # dividing by them last copies no large matrix
    return F.cross_entropy(length * (direction @ weight) / norms, labels, label_smoothing=label_smoothing)


def unit(vectors: Float[Tensor, "pair dim"]) -> Float[Tensor, "pair dim"]:
    """Length 1; TensorFlow's l2_normalize divides by at least 1e-6."""
    return F.normalize(vectors, dim=1, eps=1e-6)


def vector_of_each(embeddings: EmbeddingSet) -> Float[Tensor, "n dim"]:
    """The one vector of every image, or of every text, in at least single precision."""
    if embeddings.mask.shape[1] != 1:
        raise InputError(
            f"this loss needs one vector per image and per text, and got up to {embeddings.mask.shape[1]}; "
            'set pool on both encoders ("max" as in CMPL, or "mean")'
        )
    vectors = embeddings.vectors[:, 0]
    return vectors.float() if vectors.dtype in (torch.float16, torch.bfloat16) else vectors
