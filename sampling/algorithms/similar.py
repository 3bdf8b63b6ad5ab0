"""Find the rows most similar to examples by cosine similarity, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modeling.algorithms.rows import Floats, Rows, as_rows, blocks, usable
from sampling.algorithms.ranking import top


@dataclass(frozen=True)
class Similar:
    """Rows similar to the examples, most similar first, with their cosine similarity in [-1, 1].

    With counterexamples it is the difference of two similarities, in [-2, 2].
    """

    rows: Rows
    similarities: Floats


def inverse_lengths(X: Floats) -> Floats:
    """Return the inverse Euclidean length (n,) of each row of ``X`` (n, d), in blocks; O(n d).

    NaN for rows that are not finite and for rows of zeros, which have no direction.
    """
    inverse = np.empty(len(X), np.float32)
    for part in blocks(len(X)):
        block = np.asarray(X[part])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            inverse[part] = 1 / np.sqrt(np.einsum("ij,ij->i", block, block))
    inverse[~np.isfinite(inverse) | (inverse == 0)] = np.nan
    return inverse


def similar(
    X: Floats,
    examples: ArrayLike,
    k: int,
    *,
    inverse: Floats | None = None,
    among: ArrayLike | None = None,
    at_least: float = -1.0,
    outside: Floats | None = None,
    against: ArrayLike = (),
) -> Similar:
    """Return the ``k`` rows with the highest cosine similarity to any of the examples.

    Parameters
    ----------
    X
        (n, d) float32 vectors, may be memory-mapped; read in blocks, O(n d m) for m examples.
    examples
        Rows to compare with; they are not in the result. Those without a usable vector are left out; without any,
        the result is empty.
    k
        Maximum number of rows.
    inverse
        `inverse_lengths` of ``X`` if already computed, which halves the work.
    among
        Only these rows (default: all). Equal similarities keep the order of position in ``X``.
    at_least
        Minimum similarity.
    outside
        (m, d) vectors of further examples that are no rows of ``X``.
    against
        Rows of counterexamples: the similarity to the nearest of them is subtracted, after ``at_least`` was applied.
    """
    example_rows = as_rows(examples)
    directions = _directions(X[usable(X, example_rows)])
    if outside is not None:
        directions = np.concatenate([directions, _directions(outside)])
    if not len(directions) or k <= 0:
        return Similar(np.empty(0, np.int64), np.empty(0, np.float32))
    if among is None:
        pool, scores = None, _cosines(X, directions, inverse)
        scores[example_rows] = np.nan
    else:
        pool = as_rows(among)
        if (np.diff(pool) <= 0).any():
            pool = np.unique(pool)
        pool = pool[~np.isin(pool, example_rows)]
        scores = _cosines_of(X, pool, directions, inverse)
    scores[scores < at_least] = np.nan
    np.clip(scores, -1, 1, out=scores)
    counter = _directions(X[usable(X, against)])
    if len(counter):
        others = _cosines(X, counter, inverse) if pool is None else _cosines_of(X, pool, counter, inverse)
        scores -= np.clip(others, -1, 1)
    best = top(scores, k)
    return Similar(best if pool is None else pool[best], scores[best])


def _directions(vectors: Floats) -> Floats:
    """Return the vectors (m, d) at unit length, without those of zeros or not finite."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    has_direction = np.isfinite(lengths) & (lengths > 0)
    unit: Floats = vectors[has_direction] / lengths[has_direction, None]
    return unit


def _cosines(X: Floats, directions: Floats, inverse: Floats | None) -> Floats:
    """Return the similarity (n,) of every row to the nearest of the unit vectors ``directions`` (m, d)."""
    if inverse is None:
        inverse = inverse_lengths(X)
    scores = np.empty(len(X), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        if len(directions) == 1:
            np.matmul(X, directions[0], out=scores)
        else:
            for part in blocks(len(X)):
                scores[part] = (np.asarray(X[part]) @ directions.T).max(axis=1)
        scores *= inverse
    return scores


def _cosines_of(X: Floats, pool: Rows, directions: Floats, inverse: Floats | None) -> Floats:
    """Return `_cosines` of the rows ``pool``, reading all rows if most are in it, otherwise only these."""
    if 3 * len(pool) >= len(X):
        return _cosines(X, directions, inverse)[pool]
    scores = np.empty(len(pool), np.float32)
    for part in blocks(len(pool)):
        block = X[pool[part]]
        scores[part] = _cosines(block, directions, None if inverse is None else inverse[pool[part]])
    return scores
