"""What a dataset offers to a quick training, asked from the database and this machine."""

from __future__ import annotations

from statistics import median_low

import psutil

from labeling.models import Dataset, Frame, LabelClass
from modeling.quick_options import Facts

# The first images of a dataset say what size its images are.
SAMPLE = 200


def facts_of(dataset: Dataset) -> Facts:
    """Labels by class, the usual size of an image, and the memory that is free."""
    counts = LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).values_list("n_items", flat=True)
    sizes = Frame.objects.filter(dataset=dataset).order_by("pk").values_list("width", "height")[:SAMPLE]
    sides = [max(size) for size in sizes]
    return Facts(
        n_labelled=sum(counts),
        per_class=tuple(counts),
        median_side=median_low(sides) if sides else 0,
        memory_free=int(psutil.virtual_memory().available),
    )
