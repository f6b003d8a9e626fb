"""A matcher and its pairs -> the matrix of all scores as a file, whole or not at all."""

from pathlib import Path

from wordsight.evaluation.encode import batches, encode_rows, encode_texts
from wordsight.evaluation.score_matrix import write_header
from wordsight.files.atomic import atomic_file
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet
from wordsight.runtime.progress import Progress, silent


def write_scores(
    matcher: Matcher, pairs: PairSet, path: Path, batch_size: int = 64, progress: Progress = silent
) -> None:
    """Scores of every image with every text as float32 .npy: complete, or not there at all.

    Rows are written in order, never through a sparse map: a full disk is then an error that can be caught,
    and not the end of the process.
    """
    with inference(matcher), atomic_file(path) as file:
        texts = encode_texts(matcher, pairs, batch_size, progress)
        write_header(file, (len(pairs.images), len(texts)))
        for rows in batches(len(pairs.images), batch_size):
            scores = matcher.similarity(encode_rows(matcher, pairs, rows), texts)
            file.write(scores.float().cpu().numpy().astype("<f4").tobytes())
            progress("scores", rows.stop, len(pairs.images))
