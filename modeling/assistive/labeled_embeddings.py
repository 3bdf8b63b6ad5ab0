"""Check whether labeled images have embeddings."""

from __future__ import annotations

import numpy as np

from hoshina.core.storage import StoreError
from labeling.models import Dataset, Item, State
from modeling.models import EmbeddingSet
from modeling.store import open_vectors


def has_labels_without_embedding(dataset: Dataset) -> bool:
    """Return whether an available labeled image has no embedding. Reads the rows of all labeled images.

    Damaged embeddings count as present: opening them raises an error that says what to do.
    """
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    try:
        vectors = open_vectors(embedding_set) if embedding_set is not None else None
    except StoreError:
        return False
    if vectors is None:
        return True
    labeled = Item.objects.of(dataset).available().filter(state=State.LABELLED).values_list("row", flat=True)
    rows = np.fromiter(labeled.iterator(chunk_size=10_000), np.int64)
    known = rows[rows < len(vectors.has)]
    return len(known) < len(rows) or not bool(vectors.has[known].all())
