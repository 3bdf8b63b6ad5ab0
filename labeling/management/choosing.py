"""Which dataset a command is about."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db.models import Q

from labeling.models import Dataset


def chosen_dataset(name: str | None) -> Dataset:
    """The dataset of that name or slug; without a name the only one there is.

    Raises
    ------
    CommandError
        There is none, no such one, or several to choose from.
    """
    if name:
        found = Dataset.objects.filter(Q(name=name) | Q(slug=name)).order_by("pk").first()
        if found is None:
            raise CommandError(f"There is no dataset {name!r}. {_which()}")
        return found
    datasets = list(Dataset.objects.order_by("pk")[:2])
    if len(datasets) != 1:
        raise CommandError(f"Say which dataset with --dataset. {_which()}" if datasets else _which())
    return datasets[0]


def _which() -> str:
    names = list(Dataset.objects.values_list("slug", flat=True)[:20])
    if not names:
        return "There are no datasets yet: run manage.py ingest --data-dir FOLDER first."
    return f"There are: {', '.join(names)}."
