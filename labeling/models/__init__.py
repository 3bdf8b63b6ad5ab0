"""Store the data of record: datasets, classes, items, frames, and every decision ever made about them."""

from labeling.models.classes import LabelClass, LabelClassQuerySet
from labeling.models.datasets import MAX_PATH, Dataset, DatasetQuerySet, Field, Problem
from labeling.models.decisions import Action, Annotation, Lease
from labeling.models.items import MAX_NOTE, Frame, Item, ItemQuerySet, State, is_older

__all__ = [
    "MAX_NOTE",
    "MAX_PATH",
    "Action",
    "Annotation",
    "Dataset",
    "DatasetQuerySet",
    "Field",
    "Frame",
    "Item",
    "ItemQuerySet",
    "LabelClass",
    "LabelClassQuerySet",
    "Lease",
    "Problem",
    "State",
    "is_older",
]
