"""Check whether labeled images have embeddings."""

from __future__ import annotations

import numpy as np

from hoshina.core.storage import StoreError
from labeling.models import Dataset, Item, State
from modeling.store import MissingEmbeddings, active_vectors


def has_labels_without_embedding(dataset: Dataset) -> bool:
    """Return whether an available labeled image has no embedding. Reads the rows of all labeled images.

    Damaged embeddings count as present: opening them raises an error that says what to do.
    """
    try:
        _, vectors = active_vectors(dataset.pk)
    except StoreError:
        return False
    except MissingEmbeddings:
        return True
    labeled = Item.objects.of(dataset).available().filter(state=State.LABELLED).values_list("row", flat=True)
    rows = np.fromiter(labeled.iterator(chunk_size=10_000), np.int64)
    covered = rows[rows < len(vectors.has)]
    return len(covered) < len(rows) or not bool(vectors.has[covered].all())
