"""Rename, describe and archive datasets."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from hoshina.core.errors import Refusal
from labeling.ingest.dataset_folder import NAME_LENGTH
from labeling.models import Dataset


def rename(dataset: Dataset, text: str) -> None:
    """Give a dataset another name. Its address stays, so that links to it remain valid. Raises Refusal."""
    name = " ".join(text.split())
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise Refusal("The name of a dataset needs 1 to 120 printable characters.", "Choose another name.")
    taken = Refusal(f"There is already a dataset “{name}”.", "Choose another name.")
    if Dataset.objects.filter(name__iexact=name).exclude(pk=dataset.pk).exists():
        raise taken
    try:
        with transaction.atomic():
            Dataset.objects.filter(pk=dataset.pk).update(name=name)
    except IntegrityError as error:  # another request was faster
        raise taken from error
    dataset.name = name


def describe(dataset: Dataset, **texts: str) -> None:
    """Set the ``description``, ``license`` and ``citation`` of a dataset, those that are given. Raises Refusal."""
    tidy = {name: text.replace("\r\n", "\n").replace("\x00", "").strip() for name, text in texts.items()}
    for name, text in tidy.items():
        most = getattr(Dataset._meta.get_field(name), "max_length", 0)
        if len(text) > most:
            raise Refusal(f"The {name} has {len(text):,} characters.", f"Use at most {most:,}.", field=name)
    for name, text in tidy.items():
        setattr(dataset, name, text)
    Dataset.objects.filter(pk=dataset.pk).update(**tidy)


def set_archived(dataset: Dataset, is_archived: bool) -> None:
    """Set whether a dataset is archived: listed apart, without automatic scans and trainings."""
    dataset.archived_at = (dataset.archived_at or timezone.now()) if is_archived else None
    Dataset.objects.filter(pk=dataset.pk).update(archived_at=dataset.archived_at)
