"""Change how the files of a dataset are grouped into items, without losing labels."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from hoshina.core.errors import Refusal, reason_of
from hoshina.core.plural import counted
from hoshina.jobs.lifecycle import cancel_all
from hoshina.jobs.models import Job
from labeling.images.folder_walk import walk
from labeling.ingest.bulk_sql import ROLE, update_many
from labeling.ingest.grouping_template import GroupingProblem, Place, Template, in_order
from labeling.models import MAX_PATH, Dataset, Frame, Item, State
from labeling.notes.tags import has_remarks
from labeling.signals import regrouped

_BATCH = 2000

# An item's key and its frames, as (key, path, place).
_Grouped = tuple[int, list[tuple[int, str, Place | None]]]


def template_of(dataset: Dataset) -> Template | None:
    """Return the template that groups the dataset's files; None if each file is an item."""
    return Template.read(dataset.grouping) if dataset.grouping else None


def regroup(dataset: Dataset, text: str, extensions: Sequence[str], check: Callable[[], None]) -> None:
    """Group the dataset's files by another template; "" makes each file an item.

    If every item remains one item, only paths change. Otherwise all items are deleted and created again by the next
    ingest, which requires that there are no decisions yet. The signal ``regrouped`` is then sent. Raises Refusal if
    ``text`` is no valid template or matches no file with these ``extensions``, or if items with decisions would have to
    be merged or split.
    """
    if text == dataset.grouping:
        return
    try:
        template = Template.read(text) if text else None
    except GroupingProblem as problem:
        raise Refusal(str(problem)) from problem
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


def regroup_refusal(dataset: Dataset, template: Template | None) -> str:
    """Return why files can't be grouped by ``template`` without losing decisions; empty if they can."""
    return "" if _stays_one_to_one(dataset, template) else reason_of(lambda: _require_undecided(dataset))


def _require_match(dataset: Dataset, template: Template | None, extensions: Sequence[str]) -> None:
    files = walk(dataset.data_dir, extensions, skip=settings.STORE_DIR)
    if template and not any(template.place(file.path) for file in files if not file.problem):
        raise Refusal(
            f"None of the images in {dataset.data_dir} matches the template {template.text}.",
            "Preview a template with `hoshina ingest --group TEMPLATE --try` or on the Grouping page.",
        )


def _require_undecided(dataset: Dataset) -> None:
    n_decided = Item.objects.of(dataset).exclude(state=State.UNLABELLED).count()
    if n_decided:
        now = f"with files grouped by {dataset.grouping}" if dataset.grouping else "with each file as an item"
        raise Refusal(
            f"{counted(n_decided, 'image')} of {dataset.name} {'has' if n_decided == 1 else 'have'} a decision, {now}. "
            "Regrouping would merge or split some of them, and it would be unclear which decision applies.",
            "Create another dataset from the same folder (hoshina ingest with --dataset NAME and --group TEMPLATE), "
            "and import the labels.csv of this dataset's export there. A file's label goes to the item that contains "
            "it.",
        )
    if has_remarks(dataset):
        raise Refusal(
            f"Images of {dataset.name} have tags or notes, which regrouping would delete.",
            "Create another dataset from the same folder, or export these (notes.csv) and remove them first.",
        )


def _stop_jobs(dataset: Dataset, check: Callable[[], None]) -> None:
    """Cancel all other jobs of the dataset, since they use the items' rows, and wait until they end."""
    others = Job.objects.filter(dataset_id=dataset.pk).exclude(kind="ingest")
    reason = "The files were grouped anew, which changes the items. Start it again."
    if active := cancel_all(others, check, reason=reason):
        raise Refusal(f"{active} has not ended.", "Cancel it on the Jobs page, then group the files again.")


# -- Reading ------------------------------------------------------------------------------------------
def _stays_one_to_one(dataset: Dataset, template: Template | None) -> bool:
    """Return whether the matching files of each item stay together, and apart from those of other items."""
    keys = array("Q")
    for _, frames in _grouped(dataset, template):
        places = [place for _, _, place in frames if place]
        groups = {place.group for place in places}
        if len(groups) != 1 or len({place.role for place in places}) < len(places):
            return False
        keys.append(int.from_bytes(hashlib.blake2b(groups.pop().encode(), digest_size=8).digest(), "big"))
    return len(np.unique(np.asarray(keys, dtype=np.uint64))) == len(keys)


def _grouped(dataset: Dataset, template: Template | None) -> Iterator[_Grouped]:
    """Yield every item with its frames and their places under ``template``."""
    last = Item.objects.of(dataset).aggregate(last=Max("row"))["last"]
    for start in range(0, 0 if last is None else last + 1, _BATCH):
        frames = Frame.objects.filter(item__dataset=dataset, item__row__gte=start, item__row__lt=start + _BATCH)
        values = frames.order_by("item__row", "pk").values_list("item_id", "pk", "path")
        for item_id, frames_of_item in groupby(values, key=itemgetter(0)):
            yield item_id, [(pk, path, _place(template, path)) for _, pk, path in frames_of_item]


def _place(template: Template | None, path: str) -> Place | None:
    return template.place(path) if template else Place(path, ROLE)


# -- Writing ------------------------------------------------------------------------------------------
def _rename(dataset: Dataset, template: Template | None) -> None:
    """Give the items new paths, and their frames new roles."""
    # Assign temporary names first, because a new name may still be in use by another item.
    items = Item.objects.of(dataset)
    for start in range(0, dataset.n_items, _BATCH):
        old = items.filter(row__gte=start, row__lt=start + _BATCH).values_list("path", "pk")
        update_many(Item, ("path",), [(f"{path[: MAX_PATH - 60]} (regrouped, item {pk})", pk) for path, pk in old])
    grouped = _grouped(dataset, template)
    while batch := list(islice(grouped, _BATCH)):
        placed = [(item_id, pk, place) for item_id, frames in batch for pk, _, place in frames if place]
        unmatched = [pk for _, frames in batch for pk, _, place in frames if place is None]
        update_many(Item, ("path",), list({(place.group, item_id) for item_id, _, place in placed}))
        Frame.objects.filter(pk__in=unmatched).delete()
        update_many(Frame, ("role",), [(f"(regrouped, file {pk})", pk) for _, pk, _ in placed])
        update_many(Frame, ("role",), [(place.role, pk) for _, pk, place in placed])


def _start_over(dataset: Dataset) -> None:
    """Delete all items, none of which has a decision."""
    for start in range(0, dataset.n_items, _BATCH):
        Item.objects.of(dataset).filter(row__gte=start, row__lt=start + _BATCH).delete()
    Dataset.objects.filter(pk=dataset.pk).update(n_items=0, n_missing=0)
    dataset.refresh_from_db(fields=["n_items", "n_missing"])
    dataset.fields.all().delete()  # their values are stored by row, too
    regrouped.send(sender=Dataset, dataset_id=dataset.pk)
