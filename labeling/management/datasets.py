"""Select the dataset of a command, and add the arguments that such commands share."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import CommandError

from hoshina.core.errors import Refusal
from labeling.models import Dataset

_SHOWN = 20


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add ``--dataset NAME`` and ``--json``."""
    parser.add_argument("--dataset", metavar="NAME", help="the dataset; optional if there is only one")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def pick_dataset(name: str | None) -> Dataset:
    """Return the dataset with this name or slug, or the only dataset if ``name`` is None.

    Raises CommandError if there is no dataset, none of this name, or several and ``name`` is None.
    """
    present = Dataset.objects.present()
    names = list(present.order_by("name").values_list("name", flat=True)[: _SHOWN + 1])
    if not names:
        raise Refusal("There is no dataset yet.", "Create one with `hoshina ingest --data-dir FOLDER`.")
    listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    if name is None:
        if len(names) > 1:
            raise CommandError(f"There are several datasets. Choose one with --dataset: {listed}.", returncode=2)
        return present.get()
    dataset = present.filter(name=name).first() or present.filter(slug=name).first()
    if dataset is None:
        raise Refusal(f"There is no dataset called {name!r}.", f"The datasets are: {listed}.")
    return dataset
