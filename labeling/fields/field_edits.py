"""Rename fields and change their kind."""

from __future__ import annotations

from django.db import transaction

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.fields.column_writer import converted
from labeling.fields.columns import column_of, save_column
from labeling.fields.metadata_table import MAX_NAME
from labeling.models import Dataset, Field


def rename(field: Field, name: str) -> None:
    """Rename the field. URLs and queues that filter by the old name report that it no longer exists.

    Raises Refusal if there is no name, it is too long, or another field has it.
    """
    name = tidy_name(name)
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=field.dataset_id)
        others = Field.objects.filter(dataset=field.dataset_id, name__iexact=name).exclude(pk=field.pk)
        if others.exists():
            raise Refusal(f"There is already a field “{name}”.")
        field.name = name
        field.save(update_fields=["name"])


def tidy_name(name: str) -> str:
    """Return the name with single spaces. Raises Refusal if it is not a valid name."""
    name = " ".join(name.split())
    if not name:
        raise Refusal("Enter a name.")
    if len(name) > MAX_NAME:
        raise Refusal(f"A name has at most {MAX_NAME} characters.")
    if not name.isprintable():
        raise Refusal("The name contains invisible characters. Remove them.")
    return name


def change_kind(field: Field, kind: Field.Kind) -> None:
    """Convert the field's values to ``kind``. Raises Refusal, and changes nothing, if some can't be converted."""
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=field.dataset_id)
        column = column_of(field)
        draft, n_unfit, unfit = converted(column, kind)
        if column.kind == kind:
            return
        if n_unfit:
            more = f" and {counted(n_unfit - 1, 'more value')}" if n_unfit > 1 else ""
            raise Refusal(
                f"{unfit[:60]!r}{more} cannot be read as a {kind.label}, so {field.name} stays {column.kind.label}."
            )
        save_column(field, draft, None)
