"""Store the data of record: datasets, classes, items, frames, and every decision ever made about them."""

from labeling.models.class_guides import MAX_DESCRIPTION, MAX_DIFFERENCE, ClassConfusion, ClassExample, ClassGuide
from labeling.models.classes import ClassChange, LabelClass, LabelClassQuerySet
from labeling.models.datasets import MAX_PATH, Dataset, DatasetQuerySet, Field, Problem
from labeling.models.decisions import Action, Annotation, Lease
from labeling.models.items import MAX_NOTE, Frame, Item, ItemQuerySet, State, is_older
from labeling.models.notes import FLAG, MAX_NOTE_TEXT, MAX_TAG, ItemTag, Note, Tag

__all__ = [
    "FLAG",
    "MAX_DESCRIPTION",
    "MAX_DIFFERENCE",
    "MAX_NOTE",
    "MAX_NOTE_TEXT",
    "MAX_PATH",
    "MAX_TAG",
    "Action",
    "Annotation",
    "ClassChange",
    "ClassConfusion",
    "ClassExample",
    "ClassGuide",
    "Dataset",
    "DatasetQuerySet",
    "Field",
    "Frame",
    "Item",
    "ItemQuerySet",
    "ItemTag",
    "LabelClass",
    "LabelClassQuerySet",
    "Lease",
    "Note",
    "Problem",
    "State",
    "Tag",
    "is_older",
]
