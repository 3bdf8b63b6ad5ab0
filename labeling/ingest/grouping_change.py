"""Grouping the files of a dataset otherwise than before: no label may be lost by it."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from hoshina.core.plural import counted
from hoshina.jobs.errors import JobError
from hoshina.jobs.lifecycle import cancel
from hoshina.jobs.models import Job
from labeling.images.folder_walk import walk
from labeling.ingest.bulk_sql import ROLE, update_many
from labeling.ingest.grouping_template import GroupingProblem, Place, Template, in_order
from labeling.models import MAX_PATH, Dataset, Frame, Item, State
from labeling.signals import regrouped

_BATCH = 2000
_PATIENCE = 60.0

# An item's key and its frames, as (key, path, place).
_Grouped = tuple[int, list[tuple[int, str, Place | None]]]


def template_of(dataset: Dataset) -> Template | None:
    """How the dataset's files are grouped; None where each file is an item."""
    return Template.read(dataset.grouping) if dataset.grouping else None


def regroup(dataset: Dataset, text: str, extensions: Sequence[str], check: Callable[[], None]) -> None:
    """Group the dataset's files by another template from now on; "" makes each file an item.

    Where every item stays one item, only its path changes. Otherwise all items are made anew by the next ingest, for
    which nothing may have been decided yet; the rooms above are told (signal ``regrouped``).

    Raises
    ------
    JobError
        ``text`` is no template or fits no file (of these ``extensions``) of the folder, or items with decisions
        would have to be merged or split.
    """
    if text == dataset.grouping:
        return
    try:
        template = Template.read(text) if text else None
    except GroupingProblem as problem:
        raise JobError(str(problem)) from problem
    _require_match(dataset, template, extensions)
    if not _stays_one_to_one(dataset, template):
        _require_undecided(dataset)
        _stop_jobs(dataset, check)
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        if _stays_one_to_one(dataset, template):
            _rename(dataset, template)
        else:
            _require_undecided(dataset)
            _start_over(dataset)
        dataset.grouping = template.text if template else ""
        dataset.roles = list(template.roles) if template else []
        if template and not template.roles:
            dataset.roles = in_order(Frame.objects.filter(dataset=dataset).values_list("role", flat=True).distinct())
        dataset.save(update_fields=["grouping", "roles"])


def would_lose(dataset: Dataset, template: Template | None) -> str:
    """Why files can't be grouped like this without losing decisions, in words; empty where they can."""
    try:
        if not _stays_one_to_one(dataset, template):
            _require_undecided(dataset)
    except JobError as error:
        return f"{error.message} {error.hint}"
    return ""


def _require_match(dataset: Dataset, template: Template | None, extensions: Sequence[str]) -> None:
    files = walk(dataset.data_dir, extensions, skip=settings.STORE_DIR)
    if template and not any(template.place(found.path) for found in files if not found.problem):
        raise JobError(
            f"None of the images in {dataset.data_dir} matches the template {template.text}.",
            "Try it out before: `hoshina ingest --group TEMPLATE --try`, or on the page Grouping.",
        )


def _require_undecided(dataset: Dataset) -> None:
    n_decided = Item.objects.of(dataset).exclude(state=State.UNLABELLED).count()
    if n_decided:
        now = f"by {dataset.grouping}" if dataset.grouping else "each by itself"
        raise JobError(
            f"{counted(n_decided, 'image')} of {dataset.name} {'has' if n_decided == 1 else 'have'} a decision, with "
            f"files grouped {now}. Grouped otherwise, "
            "some would have to be merged or split, and it could not be told which decision holds.",
            "Make another dataset of the same folder (hoshina ingest with --dataset NAME and --group TEMPLATE) and "
            "import there the labels.csv of this one's export: a file's label goes to the item that it is part of.",
        )


def _stop_jobs(dataset: Dataset, check: Callable[[], None]) -> None:
    """Work that goes by the items' rows ends first."""
    until = time.monotonic() + _PATIENCE
    others = Job.objects.filter(dataset_id=dataset.pk, state__in=Job.ACTIVE).exclude(kind="ingest")
    while jobs := list(others.all()):
        for job in jobs:
            cancel(job)
        if time.monotonic() > until:
            raise JobError(f"{jobs[0]} has not ended.", "Cancel it on the Jobs page, then group the files again.")
        check()
        time.sleep(0.1)


# -- Looking ------------------------------------------------------------------------------------------
def _stays_one_to_one(dataset: Dataset, template: Template | None) -> bool:
    """Whether the files of each item, as far as they still count, stay together and apart from those of the others."""
    keys = array("Q")
    for _, frames in _grouped(dataset, template):
        places = [place for _, _, place in frames if place]
        groups = {place.group for place in places}
        if len(groups) != 1 or len({place.role for place in places}) < len(places):
            return False
        keys.append(int.from_bytes(hashlib.blake2b(groups.pop().encode(), digest_size=8).digest(), "big"))
    return len(np.unique(np.asarray(keys, dtype=np.uint64))) == len(keys)


def _grouped(dataset: Dataset, template: Template | None) -> Iterator[_Grouped]:
    """Every item with its frames and where they would belong."""
    last = Item.objects.of(dataset).aggregate(last=Max("row"))["last"]
    for start in range(0, 0 if last is None else last + 1, _BATCH):
        frames = Frame.objects.filter(dataset=dataset, item__row__gte=start, item__row__lt=start + _BATCH)
        found = frames.order_by("item__row", "pk").values_list("item_id", "pk", "path")
        for item_id, some in groupby(found, key=itemgetter(0)):
            yield item_id, [(pk, path, _place(template, path)) for _, pk, path in some]


def _place(template: Template | None, path: str) -> Place | None:
    return template.place(path) if template else Place(path, ROLE)


# -- Writing ------------------------------------------------------------------------------------------
def _rename(dataset: Dataset, template: Template | None) -> None:
    """New paths for the items, and roles for their frames."""
    # First to names that are nobody's: what one is to be called may be another's name still.
    items = Item.objects.of(dataset)
    for start in range(0, dataset.n_items, _BATCH):
        old = items.filter(row__gte=start, row__lt=start + _BATCH).values_list("path", "pk")
        update_many(Item, ("path",), [(f"{path[: MAX_PATH - 60]} (regrouped, item {pk})", pk) for path, pk in old])
    grouped = _grouped(dataset, template)
    while some := list(islice(grouped, _BATCH)):
        placed = [(item_id, pk, place) for item_id, frames in some for pk, _, place in frames if place]
        left = [pk for _, frames in some for pk, _, place in frames if place is None]
        update_many(Item, ("path",), list({(place.group, item_id) for item_id, _, place in placed}))
        Frame.objects.filter(pk__in=left).delete()
        update_many(Frame, ("role",), [(f"(regrouped, file {pk})", pk) for _, pk, _ in placed])
        update_many(Frame, ("role",), [(place.role, pk) for _, pk, place in placed])


def _start_over(dataset: Dataset) -> None:
    """Forget all items, about which nobody has decided."""
    for start in range(0, dataset.n_items, _BATCH):
        Item.objects.of(dataset).filter(row__gte=start, row__lt=start + _BATCH).delete()
    Dataset.objects.filter(pk=dataset.pk).update(n_items=0, n_missing=0)
    dataset.refresh_from_db(fields=["n_items", "n_missing"])
    dataset.fields.all().delete()  # their values go by rows too
    regrouped.send(sender=Dataset, dataset_id=dataset.pk)
