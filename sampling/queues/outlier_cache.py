"""Cache outlier scores and inverse vector lengths on disk, once per generation of an embedding set.

The algorithms are imported inside the functions: only workers load them.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np

from hoshina.core.storage import StoreError
from modeling.encoders.neighbor_cache import (
    AT_ONCE,
    SEED,
    Floats,
    Tell,
    cache_of,
    graph_of,
    principal_components_of,
    silently,
)
from modeling.models import EmbeddingSet
from modeling.store import Vectors

Oddity = Literal["local outlier factor", "isolation forest"]
_FILES: dict[Oddity, str] = {"local outlier factor": "factor", "isolation forest": "isolation"}


def oddness_of(embedding_set: EmbeddingSet, vectors: Vectors, method: Oddity, tell: Tell = silently) -> Floats:
    """Return the outlier score of each row, (n_rows,) float32: larger stands out more, NaN without an embedding."""
    from sampling.algorithms.outliers import isolation, local_outlier_factor

    def made() -> Floats:
        if method == "local outlier factor":
            return local_outlier_factor(graph_of(embedding_set, vectors, tell))
        Z = principal_components_of(embedding_set, vectors, tell)
        return isolation(
            Z, rng=np.random.default_rng(SEED), on_progress=lambda done, total: tell("Isolating", done, total)
        )

    return cast(Floats, cache_of(embedding_set).array_of(_FILES[method], embedding_set.generation, made))


def has_oddness(embedding_set: EmbeddingSet, method: Oddity) -> bool:
    """Return whether `oddness_of` has nothing to compute."""
    try:
        return cache_of(embedding_set).find(_FILES[method], embedding_set.generation) is not None
    except StoreError:
        return False


def oddness_at_hand(embedding_set: EmbeddingSet, vectors: Vectors) -> Floats | None:
    """Return the local outlier factor if it is cached or quick to compute, or None if that takes a job."""
    if len(vectors.X) > AT_ONCE and not has_oddness(embedding_set, "local outlier factor"):
        return None
    return oddness_of(embedding_set, vectors, "local outlier factor")


def inverse_lengths_of(embedding_set: EmbeddingSet, vectors: Vectors) -> Floats:
    """Return the inverse length of each vector, (n_rows,) float32; without it each search reads all vectors twice."""
    from sampling.algorithms.similar import inverse_lengths

    files = cache_of(embedding_set)
    return cast(Floats, files.array_of("inverse", embedding_set.generation, lambda: inverse_lengths(vectors.X)))
