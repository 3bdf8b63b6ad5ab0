"""Prepare the data of a quick training: labels, their split into three parts, and the pixels of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import psutil
from django.db.models import Max, Min
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import parse_options
from hoshina.core.plural import counted
from hoshina.core.storage import remove, require_space
from hoshina.jobs.models import Job
from labeling.decisions.random_draws import random_draws
from labeling.exporting.splits import assign_splits
from labeling.models import Dataset, Frame, Item, LabelClass, State
from modeling.assistive.holdout_groups import HoldoutGroups
from modeling.encoders.frames import pictured
from modeling.encoders.input_spec import InputSpec
from modeling.quick.options import Facts, QuickOptions, suggest

# Parts of the labels, in the order of the split's proportions.
TRAIN, STOPPING, TEST = 0, 1, 2
# Larger arrays of pixels are memory-mapped files.
IN_MEMORY_BYTES = 512 * 2**20
_LOOKED_AT = 1000
_BATCH = 2000


@dataclass(frozen=True)
class Labels:
    """The labels that a training may use, by ascending row.

    ``rows`` int64 (n,); ``y`` int64 (n,) positions in ``class_ids``; ``paths`` by role and ``hashes`` of the items'
    files; ``is_audit`` bool (n,) marks random draws; ``n_decisions`` of the dataset at that time.
    """

    rows: NDArray[np.int64]
    y: NDArray[np.int64]
    paths: list[dict[str, str]]
    hashes: list[tuple[str, ...]]
    is_audit: NDArray[np.bool_]
    class_ids: list[int]
    n_decisions: int

    def only(self, mask: NDArray[np.bool_]) -> Labels:
        """Return the subset where ``mask`` bool (n,) is true, with the same classes."""
        return replace(
            self,
            rows=self.rows[mask],
            y=self.y[mask],
            paths=list(compress(self.paths, mask)),
            hashes=list(compress(self.hashes, mask)),
            is_audit=self.is_audit[mask],
        )


# -- Facts and default options -----------------------------------------------------------------------
def facts_of(dataset: Dataset) -> Facts:
    """Return facts about the current labels, with a few queries whose cost does not grow with the images."""
    counts = LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).values_list("n_items", flat=True)
    sides = Frame.objects.filter(dataset=dataset).order_by("id").values_list("width", "height")[:_LOOKED_AT]
    longer = [max(width, height) for width, height in sides]
    return Facts(
        n_labelled=sum(counts),
        per_class=list(counts),
        median_side=int(np.median(longer)) if longer else 0,
        memory_free=int(psutil.virtual_memory().available),
    )


def usual_options(dataset: Dataset) -> QuickOptions:
    """Return the options of the last training, or options suited to the images."""
    jobs = Job.objects.filter(kind="quick_train", dataset_id=dataset.pk).order_by("-created_at")
    for params in jobs.values_list("params", flat=True)[:20]:
        if "finish" in params:
            continue
        try:
            return parse_options(QuickOptions, params)
        except Refusal:  # from another version of HOSHINA
            continue
    return suggest(facts_of(dataset))


# -- Labels ------------------------------------------------------------------------------------------
def read_labels(dataset: Dataset) -> Labels:
    """Read the labeled images that are available; their classes are in the order of the class list."""
    n_decisions = Dataset.objects.values_list("n_decisions", flat=True).get(pk=dataset.pk)
    items = Item.objects.filter(dataset=dataset, state=State.LABELLED, is_available=True)
    items = items.annotate(frame=Min("frames__id")).filter(frame__isnull=False).order_by("row")
    found = list(items.values_list("row", "label_id", "pk"))
    rows = np.array([row for row, _, _ in found], dtype=np.int64)
    label_ids = [label_id for _, label_id, _ in found]
    class_ids = list(LabelClass.objects.filter(dataset=dataset, pk__in=set(label_ids)).values_list("pk", flat=True))
    position = {class_id: column for column, class_id in enumerate(class_ids)}
    by_item = _files(dataset, [pk for _, _, pk in found])
    files = [by_item[pk] for _, _, pk in found]
    return Labels(
        rows=rows,
        y=np.array([position[label_id] for label_id in label_ids], dtype=np.int64),
        paths=[{role: path for role, path, _ in of_item} for of_item in files],
        hashes=[tuple(sha256 for _, _, sha256 in of_item) for of_item in files],
        is_audit=np.isin(rows, list(random_draws(dataset.pk).labeled)),
        class_ids=class_ids,
        n_decisions=n_decisions,
    )


def _files(dataset: Dataset, item_ids: Sequence[int]) -> dict[int, list[tuple[str, str, str]]]:
    """Return role, path and SHA-256 of the items' files; only the first of each if the dataset has single images."""
    by_item: dict[int, list[tuple[str, str, str]]] = {}
    for start in range(0, len(item_ids), 500):
        frames = Frame.objects.filter(item_id__in=item_ids[start : start + 500]).order_by("pk")
        for item_id, role, path, sha256 in frames.values_list("item_id", "role", "path", "sha256"):
            files = by_item.setdefault(item_id, [])
            if dataset.roles or not files:
                files.append((role, path, sha256))
    return by_item


def split(labels: Labels, holdout: HoldoutGroups, options: QuickOptions) -> NDArray[np.int8]:
    """Split the labels into training, validation and test sets: int8 (n,) of TRAIN, STOPPING, TEST.

    The split is stratified by class; items that share a file or a group are in the same part. Random draws go to the
    test set first (unless they are in a group of several), so that it represents the dataset as well as possible. If
    all labels of a class would be held out, one of its groups is used for training; if a part is empty, it gets the
    smallest group that another part can spare.

    Raises
    ------
    Refusal : there are too few groups for three parts.
    """
    held = round(500 * options.validation_share)
    group = (holdout.keys >> np.uint64(1)).tolist()
    audit = {key for key, is_audit in zip(group, labels.is_audit, strict=True) if is_audit}
    # The smallest keys go to the last part.
    keys = np.array([key if key in audit else key | 1 << 63 for key in group], dtype=np.uint64)
    parts = assign_splits(keys, labels.y, proportions=(1000 - 2 * held, held, held))
    for column in range(len(labels.class_ids)):
        own = labels.y == column
        if own.any() and not (parts[own] == TRAIN).any():
            parts[keys == keys[own].max()] = TRAIN
    for part in (TEST, STOPPING):
        if not (parts == part).any():
            parts[_spare_group(keys, labels.y, parts, holdout)] = part
    return parts


def _spare_group(
    keys: NDArray[np.uint64], y: NDArray[np.int64], parts: NDArray[np.int8], holdout: HoldoutGroups
) -> NDArray[np.bool_]:
    """Return the labels (n,) of the smallest group that its part can spare without losing a class in training."""
    groups, first, sizes = np.unique(keys, return_index=True, return_counts=True)
    per_part = np.bincount(parts[first], minlength=3)
    for group in np.argsort(sizes, kind="stable").tolist():
        members, part = keys == groups[group], parts[first[group]]
        is_learnt = part != TRAIN or np.isin(y[members], y[(parts == TRAIN) & ~members]).all()
        if per_part[part] > 1 and is_learnt:
            return np.asarray(members)
    name = holdout.field.name if holdout.field else "file"
    raise Refusal(
        f"The labels cannot be split into a training, a validation and a test set: by {name} they form "
        f"{counted(len(groups), 'group')}, and each class needs one in the training set.",
        "Label images of other groups, or choose a finer field (or none) on the page Fields.",
    )


# -- Pixels ------------------------------------------------------------------------------------------
def image_files(dataset: Dataset, n_rows: int, spec: InputSpec) -> Iterator[tuple[int, dict[str, Path]]]:
    """Yield row and files by role of each available item, by ascending row below ``n_rows``."""
    for start in range(0, n_rows, _BATCH):
        for item in pictured(dataset, start, min(start + _BATCH, n_rows), spec):
            yield item.row, {role: dataset.data_dir / path for role, path in item.paths.items()}


def n_rows_of(dataset: Dataset) -> int:
    """Return the number of rows: one more than the last row of any item."""
    last = Item.objects.of(dataset).aggregate(last=Max("row"))["last"]
    return 0 if last is None else int(last) + 1


@contextlib.contextmanager
def room_for_pixels(folder: Path, n: int, side: int) -> Iterator[NDArray[np.uint8]]:
    """Yield an array uint8 (n, side, side, 3) of zeros: in memory, or in a file of ``folder`` if it is large."""
    n_bytes = n * side * side * 3
    if n_bytes <= IN_MEMORY_BYTES:
        yield np.zeros((n, side, side, 3), dtype=np.uint8)
        return
    require_space(folder, n_bytes)
    file = folder / "pixels.npy"
    try:
        mapped: NDArray[np.uint8] = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(n, side, side, 3))
        yield mapped
        del mapped
    finally:
        remove(file)
