"""What a quick training learns from: labels, their split into three parts, and the pixels of images."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from django.db.models import Min
from numpy.typing import NDArray

from hoshina.jobs.models import Job
from labeling.images.opening import ImageProblem, open_image
from labeling.models import Annotation, Dataset, Frame, Item, LabelClass, State
from labeling.splits import assign_splits, split_key
from modeling.backends.encoder import Pixels, squash
from modeling.quick_options import Facts, OptionError, QuickOptions, suggest

# Parts of the labels, in the order of the split's proportions.
TRAIN, STOPPING, TEST = 0, 1, 2
# Larger than that, pixels lie in a file that is mapped.
IN_MEMORY_BYTES = 512 * 2**20
_LOOKED_AT = 1000


@dataclass(frozen=True)
class Labels:
    """The labels that a training may use, by ascending row.

    ``rows`` int64 (n,); ``y`` int64 (n,) positions in ``class_ids``; ``paths`` and ``hashes`` of the images' files;
    ``is_audit`` bool (n,): first decided when chance had drawn the image; ``n_decisions`` of the dataset then.
    """

    rows: NDArray[np.int64]
    y: NDArray[np.int64]
    paths: list[str]
    hashes: list[str]
    is_audit: NDArray[np.bool_]
    class_ids: list[int]
    n_decisions: int


# -- For the page ------------------------------------------------------------------------------------
def facts_of(dataset: Dataset) -> Facts:
    """What there is to learn from just now; some look-ups whose cost does not grow with the images."""
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
    """What was chosen the last time, otherwise what suits the images."""
    jobs = Job.objects.filter(kind="quick_train", dataset_id=dataset.pk).order_by("-created_at")
    for params in jobs.values_list("params", flat=True)[:20]:
        if "finish" in params:
            continue
        try:
            return QuickOptions.from_params(params)
        except OptionError:  # of another version of this program
            continue
    return suggest(facts_of(dataset))


# -- Labels ------------------------------------------------------------------------------------------
def read_labels(dataset: Dataset) -> Labels:
    """The labelled images that are there; their classes in the order of the class list."""
    n_decisions = Dataset.objects.values_list("n_decisions", flat=True).get(pk=dataset.pk)
    items = Item.objects.filter(dataset=dataset, state=State.LABELLED, is_available=True)
    found = list(
        items.annotate(frame=Min("frames__id"))
        .filter(frame__isnull=False)
        .order_by("row")
        .values_list("row", "label_id", "frame")
    )
    files = _files({frame for _, _, frame in found})
    rows = np.array([row for row, _, _ in found], dtype=np.int64)
    label_ids = [label_id for _, label_id, _ in found]
    class_ids = list(LabelClass.objects.filter(dataset=dataset, pk__in=set(label_ids)).values_list("pk", flat=True))
    position = {class_id: column for column, class_id in enumerate(class_ids)}
    audit = _audit_rows(dataset)
    return Labels(
        rows=rows,
        y=np.array([position[label_id] for label_id in label_ids], dtype=np.int64),
        paths=[files[frame][0] for _, _, frame in found],
        hashes=[files[frame][1] for _, _, frame in found],
        is_audit=np.isin(rows, audit),
        class_ids=class_ids,
        n_decisions=n_decisions,
    )


def _files(frames: set[int]) -> dict[int, tuple[str, str]]:
    """Path and SHA-256 of frames by their id."""
    wanted = sorted(frames)
    found: dict[int, tuple[str, str]] = {}
    for start in range(0, len(wanted), 500):
        some = Frame.objects.filter(pk__in=wanted[start : start + 500])
        found |= {pk: (path, sha256) for pk, path, sha256 in some.values_list("pk", "path", "sha256")}
    return found


def _audit_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Rows that were first decided when chance had drawn them."""
    firsts = Annotation.objects.filter(item__dataset=dataset, queue__in=Annotation.AUDIT_QUEUES, previous=None)
    return np.array(list(firsts.values_list("item__row", flat=True)), dtype=np.int64)


def split(labels: Labels, options: QuickOptions) -> NDArray[np.int8]:
    """Which labels train, which say when to stop, which test: int8 (n,) of TRAIN, STOPPING, TEST.

    Stratified by class, identical files on one side. What chance drew goes to the test first, so that the test tells
    of the collection as well as it can. A class whose labels would all be held out gives one group back.
    """
    held = round(500 * options.validation_share)
    group = [split_key(sha256, options.seed) >> 1 for sha256 in labels.hashes]
    audit = {key for key, is_audit in zip(group, labels.is_audit, strict=True) if is_audit}
    # The smallest keys go to the last part.
    keys = np.array([key if key in audit else key | 1 << 63 for key in group], dtype=np.uint64)
    parts = assign_splits(keys, labels.y, proportions=(1000 - 2 * held, held, held))
    for column in range(len(labels.class_ids)):
        own = labels.y == column
        if own.any() and not (parts[own] == TRAIN).any():
            parts[keys == keys[own].max()] = TRAIN
    return parts


# -- Pixels ------------------------------------------------------------------------------------------
def read_pixels(
    files: Sequence[Path], side: int, out: NDArray[np.uint8], advance: Callable[[int], None]
) -> NDArray[np.bool_]:
    """Squash image files into ``out`` uint8 (n, side, side, 3); bool (n,) which could be read.

    Threads decode; ``advance`` hears of each and may raise to stop.
    """
    readable = np.zeros(len(files), dtype=np.bool_)
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="decode")
    try:
        for position, pixels in enumerate(_in_order(pool, files, side)):
            if pixels is not None:
                out[position] = pixels
                readable[position] = True
            advance(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return readable


def _in_order(pool: ThreadPoolExecutor, files: Sequence[Path], side: int) -> Iterator[Pixels | None]:
    """The pixels of each file in turn, some dozens of them read ahead."""
    waiting: deque[Future[Pixels | None]] = deque()
    for file in files:
        waiting.append(pool.submit(_read, file, side))
        if len(waiting) > 64:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(file: Path, side: int) -> Pixels | None:
    try:
        return squash(open_image(file, max_side=2 * side), side)
    except ImageProblem:
        return None
