"""Where fields keep their values: a column by row in the store, not a million rows of SQL.

Each generation of a field is a set of files that is never changed::

    fields/<field>/values-<generation>.npy    numbers and times float64 (n_rows,), NaN: unknown;
                                              text int32 (n_rows,), codes of its vocabulary, -1: unknown
    fields/<field>/words-<generation>.npy     uint8, the vocabulary of a text (labeling.fields.text_values)
    fields/<field>/starts-<generation>.npy    int64, where each of its words begins
    fields/<field>/stamps-<generation>.npy    uint64 (n_rows,), of a header's card: which file each row was read from

Times are seconds since 1970 in UTC. The database row says which generation counts; files are written whole or not at
all before it does, so that a process may be killed at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from hoshina.core.storage import StoreError, map_array, remove, remove_folder, writing
from labeling.fields.text_values import NO_WORDS, Vocabulary, packed
from labeling.models import Dataset, Field

Values = NDArray[np.float64] | NDArray[np.int32]
Stamps = NDArray[np.uint64]

UNKNOWN_CODE = -1
_AGAIN = "Delete the field on the page Fields and import it again."


@dataclass(frozen=True)
class Column:
    """The values of one field by row, mapped; items that came later have no row here, and so no known value.

    ``values`` is float64 (n_rows,), NaN where unknown; of a text int32 codes of the ``vocabulary``, which is sorted, so
    that codes sort as their words do; -1 where unknown. ``vocabulary`` is empty for numbers and times.
    """

    kind: Field.Kind
    values: Values
    vocabulary: Vocabulary = NO_WORDS

    @property
    def is_text(self) -> bool:
        return self.kind == Field.Kind.TEXT

    def known(self) -> NDArray[np.bool_]:
        """Which rows have a value, (n_rows,)."""
        known: NDArray[np.bool_] = self.values != UNKNOWN_CODE if self.is_text else ~np.isnan(self.values)
        return known

    def of_rows(self, rows: NDArray[np.int64]) -> Values:
        """The values of ``rows`` (n,), of whatever is not here unknown ones."""
        found = unknown_values(self.kind, len(rows))
        is_here = rows < len(self.values)
        found[is_here] = self.values[rows[is_here]]
        return found


@dataclass(frozen=True)
class Draft:
    """Values that are to become a field's next generation: as :class:`Column` has them, the words sorted."""

    kind: Field.Kind
    values: Values
    words: list[str]

    def n_known(self) -> int:
        known = self.values != UNKNOWN_CODE if self.kind == Field.Kind.TEXT else ~np.isnan(self.values)
        return int(np.count_nonzero(known))


def unknown_values(kind: Field.Kind, n: int) -> Values:
    """A column of nothing known."""
    if kind == Field.Kind.TEXT:
        return np.full(n, UNKNOWN_CODE, np.int32)
    return np.full(n, np.nan)


def column_of(field: Field) -> Column:
    """The values of a field. Costs no copy, whatever the size.

    Raises
    ------
    StoreError : the files are gone or damaged.
    """
    try:
        return _open(field)
    except FileNotFoundError:
        # The row was read before another generation came and the old files went.
        field.refresh_from_db(fields=["generation", "kind"])
    try:
        return _open(field)
    except FileNotFoundError as error:
        raise StoreError(f"The file {error.filename} of the field {field} is missing.", _AGAIN) from error


def _open(field: Field) -> Column:
    kind = Field.Kind(field.kind)
    if field.generation == 0:
        return Column(kind, unknown_values(kind, 0))
    values = cast(Values, map_array(_file(field, "values"), _AGAIN))
    if kind != Field.Kind.TEXT:
        return Column(kind, values)
    words, starts = (map_array(_file(field, name), _AGAIN) for name in ("words", "starts"))
    return Column(kind, values, Vocabulary(words, starts))


def stamps_of(field: Field) -> Stamps:
    """Which file each row was read from: uint64 (n_rows,), 0 for none; empty where that is not known any more."""
    try:
        return cast(Stamps, map_array(_file(field, "stamps"), _AGAIN))
    except (FileNotFoundError, StoreError):  # reading the headers again is always a way out
        return np.empty(0, np.uint64)


def save_column(field: Field, draft: Draft, stamps: Stamps | None = None) -> None:
    """Make ``draft`` the values of a field that is saved; older files go once the change is committed."""
    with transaction.atomic():
        # One writer at a time: the next generation's number is its own.
        Dataset.objects.select_for_update().get(pk=field.dataset_id)
        field.refresh_from_db(fields=["generation"])
        older = [_file(field, name) for name in ("values", "words", "starts", "stamps")]
        field.generation += 1
        field.kind = draft.kind
        field.n_known = draft.n_known()
        _write(field, "values", draft.values)
        if draft.kind == Field.Kind.TEXT:
            words, starts = packed(draft.words)
            _write(field, "words", words)
            _write(field, "starts", starts)
        if stamps is not None:
            _write(field, "stamps", stamps)
        field.save(update_fields=["generation", "kind", "n_known"])
        transaction.on_commit(lambda: _remove(older))


def empty(field: Field) -> None:
    """Nothing is known any more: the items that its values were about are no more."""
    save_column(field, Draft(Field.Kind(field.kind), unknown_values(Field.Kind(field.kind), 0), []))


def forget_field(instance: Field, **kwargs: object) -> None:
    """After a field was deleted: its values go too, once that is certain."""
    pk = instance.pk
    if pk is not None:
        transaction.on_commit(lambda: remove_folder(_folder(pk)))


def _remove(files: list[Path]) -> None:
    for file in files:
        remove(file)


def _write(field: Field, name: str, values: NDArray[Any]) -> None:
    with writing(_file(field, name)) as stream:
        np.save(stream, np.ascontiguousarray(values))


def _folder(pk: int) -> Path:
    return Path(settings.STORE_DIR) / "fields" / str(pk)


def _file(field: Field, name: str) -> Path:
    return _folder(field.pk) / f"{name}-{field.generation}.npy"
