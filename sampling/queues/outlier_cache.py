"""What queues share about an embedding set beside its k-NN graph: how odd each image is, and lengths, kept on the disk.

Each is computed once for a generation of vectors. The algorithms are imported where they run: in a worker.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from modeling.encoders.neighbor_cache import (
    AT_ONCE,
    SEED,
    Floats,
    Tell,
    file_of,
    graph_of,
    is_intact,
    kept,
    principal_components_of,
    silently,
)
from modeling.models import EmbeddingSet
from modeling.store import Vectors

Oddity = Literal["local outlier factor", "isolation forest"]
_FILES: dict[Oddity, str] = {"local outlier factor": "factor", "isolation forest": "isolation"}


def oddness_of(embedding_set: EmbeddingSet, vectors: Vectors, method: Oddity, tell: Tell = silently) -> Floats:
    """How much each row stands out, (n_rows,) float32, larger for odder ones; NaN where there is no vector."""
    from sampling.algorithms.outliers import isolation, local_outlier_factor

    def made() -> Floats:
        if method == "local outlier factor":
            return local_outlier_factor(graph_of(embedding_set, vectors, tell))
        Z = principal_components_of(embedding_set, vectors, tell)
        return isolation(
            Z, rng=np.random.default_rng(SEED), on_progress=lambda done, total: tell("Isolating", done, total)
        )

    return kept(file_of(embedding_set, _FILES[method]), made)


def has_oddness(embedding_set: EmbeddingSet, method: Oddity) -> bool:
    """Return whether `oddness_of` has nothing to compute."""
    return is_intact(file_of(embedding_set, _FILES[method]))


def oddness_at_hand(embedding_set: EmbeddingSet, vectors: Vectors) -> Floats | None:
    """The local outlier factor where it is kept or soon told; None while nobody has asked for the long comparison."""
    if len(vectors.X) > AT_ONCE and not has_oddness(embedding_set, "local outlier factor"):
        return None
    return oddness_of(embedding_set, vectors, "local outlier factor")


def inverse_lengths_of(embedding_set: EmbeddingSet, vectors: Vectors) -> Floats:
    """One over the length of each vector, (n_rows,) float32: without them each search reads all vectors twice."""
    from sampling.algorithms.similar import inverse_lengths

    return kept(file_of(embedding_set, "inverse"), lambda: inverse_lengths(vectors.X))
