"""Places of contents in segments -> their vectors, boxes and labels, as one padded set."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from wordsight.search.index.row_places import groups_by_segment, vector_places
from wordsight.search.index.vector_files import Segment
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch


def gather_sets(
    segments: Mapping[int, Segment],
    where: tuple[np.ndarray, np.ndarray, np.ndarray],
    dim: int,
    boxed: bool,
    labelled: bool,
) -> EmbeddingSet:
    """The contents in their order, in float32.

    ``where``: segment, first vector and number of vectors of each. ``boxed``: every segment has boxes;
    ``labelled``: some have labels, too.
    """
    segment_of, start, counts = where
    widest = max(int(counts.max(initial=0)), 1)
    shape = (len(counts), widest)
    mask = torch.arange(widest) < torch.from_numpy(counts)[:, None]
    vectors = torch.zeros(len(counts) * widest, dim)
    boxes = torch.zeros(len(counts) * widest, 4) if boxed else None
    labels = torch.zeros(len(counts) * widest, dtype=torch.long) if labelled else None
    for number, chosen in groups_by_segment(segment_of):
        segment, index = segments[number], vector_places(start[chosen], counts[chosen])
        slots = vector_places(chosen * widest, counts[chosen])  # of ``widest`` per content
        if labels is not None and segment.has_labels:
            labels[slots] = segment.labels_at(index)
        if len(chosen) == len(counts) and bool(mask.all()):
            vectors, boxes = segment.vectors(index), segment.boxes_at(index) if boxed else None
            break
        vectors[slots] = segment.vectors(index)
        if boxes is not None:
            boxes[slots] = segment.boxes_at(index)
    return EmbeddingSet(
        vectors.view(*shape, dim),
        mask,
        None if boxes is None else boxes.view(*shape, 4),
        None if labels is None else labels.view(*shape),
    )


def fill_vectors(
    segments: Mapping[int, Segment],
    segment_of: np.ndarray,
    start: np.ndarray,
    out: Float[Tensor, "content item dim"],
) -> None:
    """Write contents of one number of vectors, which begin at ``start``, in float32."""
    count, length, dim = out.shape
    for number, chosen in groups_by_segment(segment_of):
        index = vector_places(start[chosen], np.full(len(chosen), length))
        if len(chosen) == count:
            segments[number].fill(index, out.view(count * length, dim))
        else:
            out[torch.from_numpy(chosen)] = segments[number].vectors(index).view(-1, length, dim)
