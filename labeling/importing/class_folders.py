"""Read labels from class folders: ``cat/1.png``, or ``train/cat/1.png`` with the split above."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from django.contrib.auth.models import User

from hoshina.core.errors import Refusal
from labeling.exporting.canonical_text import csv_line
from labeling.importing.columns import Choice, Role
from labeling.importing.save_table import Report, import_labels
from labeling.ingest.folder_listing import SPLIT_NAMES
from labeling.models import Dataset, Item

SPLIT = "split"
CHOICE = Choice(key="path", roles={SPLIT: Role.FIELD})
_BATCH = 10_000
_IN_MEMORY = 16 * 2**20


def folder_labels(dataset: Dataset, user: User | None) -> Report:
    """Label the items that nobody decided yet with the name of their class folder; keep the split as a field.

    Raises Refusal if no item is in a class folder.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
        stream = cast("BinaryIO", spooled)
        if not write_table(dataset, stream):
            raise Refusal(
                "No undecided image is in a class folder.", "Put the images of each class into a folder of its name."
            )
        stream.seek(0)
        return import_labels(dataset, stream, user=user, create_classes=True, choice=CHOICE)


def write_table(dataset: Dataset, stream: BinaryIO) -> int:
    """Write a CSV file with the class folder, and the split, of each undecided item. Return the number of lines."""
    has_splits = _has_splits(dataset)
    stream.write(b"path,label,split\n")
    number = 0
    for path, _ in _items(dataset, is_undecided=True):
        folders = PurePosixPath(path).parts[:-1]
        split = folders[0] if has_splits and folders else ""
        folders = folders[1:] if has_splits else folders
        if folders:
            number += 1
            stream.write(csv_line((path, folders[0], split)).encode())
    return number


def _has_splits(dataset: Dataset) -> bool:
    """Return whether all images are below folders such as train, val and test, in folders of classes."""
    is_found = False
    for path, _ in _items(dataset, is_undecided=False):
        folders = PurePosixPath(path).parts[:-1]
        if not folders or folders[0].lower() not in SPLIT_NAMES:
            return False
        is_found |= len(folders) > 1
    return is_found


def _items(dataset: Dataset, *, is_undecided: bool) -> Iterator[tuple[str, int]]:
    """Yield path and row of the items by row, a batch at a time."""
    last = -1
    items = Item.objects.of(dataset).order_by("row")
    items = items.filter(newest_annotation_id=0) if is_undecided else items
    while batch := list(items.filter(row__gt=last).values_list("path", "row")[:_BATCH]):
        yield from batch
        last = batch[-1][1]
