"""Find parts in which a class can be split, and refine the parts by decisions about some of its items.

The proposal is k-means on the embeddings of the class, with the number of parts of the largest silhouette (Peter
Rousseeuw, *Silhouettes*, Journal of Computational and Applied Mathematics 20, 1987), both through scikit-learn. Once
items have been decided, a classifier trained on them assigns the others: it needs far fewer decisions than the clusters
(docs/explanation/rare-classes.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from modeling.algorithms.head import fit_head
from modeling.algorithms.rows import Floats, Rows, blocks, sklearn_seed
from sampling.algorithms.parts import Parts, typical

MIN_PARTS, MAX_PARTS = 2, 5
STARTS = 10
# Clusters are fitted to at most this many items, and the silhouette, whose cost is their square, is that of fewer.
FIT_ROWS, SILHOUETTE_ROWS = 10_000, 2000
# The most typical items of each part count as decided: whoever named the part has seen them.
SEEDS = 5


def propose(Z: Floats, *, n_parts: int = 0, rng: np.random.Generator) -> Parts:
    """Cluster the items of a class: ``Z`` (n, d) projected embeddings, all finite.

    ``n_parts`` 0 chooses 2 to 5 parts by the largest silhouette. Parts are numbered by size, largest first. The
    membership is the normalized inverse of the distance to a center. Raises ValueError if there are fewer distinct
    items than parts.
    """
    n_distinct = len(np.unique(Z, axis=0))
    if n_distinct < max(n_parts, MIN_PARTS):
        raise ValueError(f"{n_distinct} distinct items cannot be split in {max(n_parts, MIN_PARTS)} parts")
    numbers = [n_parts] if n_parts else list(range(MIN_PARTS, min(MAX_PARTS, n_distinct) + 1))
    seed = sklearn_seed(rng)
    fitted = Z if len(Z) <= FIT_ROWS else Z[np.sort(rng.choice(len(Z), FIT_ROWS, replace=False))]
    sample = np.sort(rng.choice(len(fitted), min(len(fitted), SILHOUETTE_ROWS), replace=False))
    fits = {k: KMeans(k, n_init=STARTS, random_state=seed).fit(fitted) for k in numbers}
    silhouettes = {k: _silhouette(fitted[sample], fit.labels_[sample]) for k, fit in fits.items()}
    best = max(fits, key=lambda k: (silhouettes[k], -k))
    distances = fits[best].transform(Z).astype(np.float32)
    sizes = np.bincount(distances.argmin(axis=1), minlength=best)
    distances = distances[:, np.argsort(-sizes, kind="stable")]
    inverse = 1 / np.maximum(distances, np.float32(1e-9))
    return Parts(inverse / inverse.sum(axis=1, keepdims=True), -distances.min(axis=1), silhouettes)


def refine(X: Floats, rows: Rows, named: Parts, decided: Rows, decided_parts: Rows) -> Parts:
    """Assign all items by a classifier trained on the decided ones and the most typical ones of each part.

    Parameters
    ----------
    X, rows
        (N, d) embeddings, may be memory-mapped, and the row (n,) of each item.
    named
        The parts as they were named, which give the typical items.
    decided, decided_parts
        (m,) positions of items that were decided, and their parts; their membership is 1.

    Returns
    -------
    Parts
        The memberships are the classifier's probabilities. Without two parts among the decided and typical items,
        the parts stay as they are.
    """
    seeds = np.setdiff1d(np.concatenate(typical(named, SEEDS)), decided)
    positions = np.concatenate([decided, seeds])
    y = np.concatenate([decided_parts, named.parts[seeds]])
    memberships = named.memberships.copy()
    if len(np.unique(y)) >= MIN_PARTS:
        head = fit_head(np.asarray(X[rows[positions]]), y, n_classes=named.n_parts)
        for part in blocks(len(rows)):
            logits = head.logits(np.asarray(X[rows[part]]))
            exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
            memberships[part] = exponents / exponents.sum(axis=1, keepdims=True)
    memberships[decided] = 0
    memberships[decided, decided_parts] = 1
    return replace(named, memberships=memberships)


def _silhouette(Z: Floats, labels: NDArray[np.int32]) -> float:
    if not 1 < len(np.unique(labels)) < len(Z):
        return -1.0
    return float(silhouette_score(Z, labels))
