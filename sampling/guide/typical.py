"""Find typical items of a class: the labeled ones nearest to its center in the embeddings."""

from __future__ import annotations

import numpy as np

from hoshina.core.storage import StoreError
from labeling.models import Item, LabelClass, State
from modeling.store import MissingEmbeddings, active_vectors
from sampling.algorithms.class_neighbors import nearest_to_center
from sampling.queues.pool import pool_of

N_TYPICAL = 4
# The center of a random sample of labels hardly differs from that of all.
MAX_LABELS = 1000


def typical_items(label: LabelClass) -> list[int]:
    """Return the ids of the labeled items nearest to the center of a class; none without embeddings."""
    try:
        _, vectors = active_vectors(label.dataset_id)
    except (MissingEmbeddings, StoreError):  # other pages say what to do about it
        return []
    rows = pool_of(label.dataset).rows(State.LABELLED, label.pk)
    rows = rows[rows < len(vectors)]
    rows = rows[vectors.has[rows]]
    if len(rows) > MAX_LABELS:
        rows = np.sort(np.random.default_rng(label.pk).choice(rows, MAX_LABELS, replace=False))
    nearest = nearest_to_center(vectors.X, rows, N_TYPICAL).tolist()
    found = Item.objects.filter(dataset=label.dataset_id, row__in=nearest, label=label).values_list("row", "pk")
    pks = dict(found)
    return [pks[row] for row in nearest if row in pks]
