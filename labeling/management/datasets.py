"""What the commands about one dataset share: which one it is, and how they print."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import CommandError

from hoshina.core.commands import Failure
from labeling.models import Dataset

_SHOWN = 20


def add_common_arguments(parser: ArgumentParser) -> None:
    """``--dataset NAME`` and ``--json``."""
    parser.add_argument("--dataset", metavar="NAME", help="which dataset; not needed when there is only one")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def pick_dataset(name: str | None) -> Dataset:
    """The dataset of that name (or of that name in addresses), or the only one there is.

    Raises
    ------
    CommandError : there is none of that name, none at all, or several and no name was given.
    """
    names = list(Dataset.objects.order_by("name").values_list("name", flat=True)[: _SHOWN + 1])
    if not names:
        raise Failure("There is no dataset yet.", "Make one with `hoshina ingest --data-dir FOLDER`.")
    listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    if name is None:
        if len(names) > 1:
            raise CommandError(f"There are several datasets; choose one with --dataset: {listed}.", returncode=2)
        return Dataset.objects.get()
    found = Dataset.objects.filter(name=name).first() or Dataset.objects.filter(slug=name).first()
    if found is None:
        raise Failure(f"There is no dataset called {name!r}.", f"There are: {listed}.")
    return found
