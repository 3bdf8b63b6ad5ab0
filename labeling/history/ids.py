"""Keep IDs of another store where they are free in this one, so that exports of both have the same bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.core.management.color import no_style
from django.db import connection, models
from django.db.models import Max

from hoshina.core.batches import batched

# IDs far beyond those of this store are not kept, so that a file can't use up the numbers of a table.
_AHEAD = 100_000_000
_AT_ONCE = 900


def free_ids(model: type[models.Model], ids: Collection[int]) -> Mapping[int, int]:
    """Return those of the IDs that this store can give to new rows, by themselves."""
    rows = model._default_manager.all()
    limit = (rows.aggregate(last=Max("pk"))["last"] or 0) + _AHEAD
    taken: set[int] = set()
    for batch in batched(sorted(ids), _AT_ONCE):
        taken.update(rows.filter(pk__in=batch).values_list("pk", flat=True))
    # All or none: new IDs are assigned by the database, which does not know the others.
    return {} if taken or any(pk > limit for pk in ids) else {pk: pk for pk in ids}


def reset_sequence(model: type[models.Model]) -> None:
    """Set the next ID of a table after its largest one, as SQLite does without this."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)
