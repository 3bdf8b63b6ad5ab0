"""Store the values of fields as arrays by row, instead of a million rows of SQL.

Each generation of a field is a set of files that is never changed::

    fields/<field>/values-<generation>.npy    numbers and times float64 (n_rows,), NaN: unknown;
                                              text int32 (n_rows,), codes of its vocabulary, -1: unknown
    fields/<field>/words-<generation>.npy     uint8, the vocabulary of a text
    fields/<field>/starts-<generation>.npy    int64, where each of its texts begins
    fields/<field>/stamps-<generation>.npy    uint64 (n_rows,), of a header card: which file each row was read from

Times are seconds since 1970 in UTC. The database row names the current generation and is saved after the files, which
are written atomically, so that a process may be killed at any moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from hoshina.core.storage import Generations, StoreError, remove_folder
from labeling.models import Dataset, Field

Values = NDArray[np.float64] | NDArray[np.int32]
Stamps = NDArray[np.uint64]

UNKNOWN_CODE = -1


# -- The vocabulary of a text ------------------------------------------------------------------------------------
class Vocabulary(Sequence[str]):
    """The different values of a column, by code 0, 1, 2 …, sorted by their code points.

    They are concatenated as UTF-8 in ``text`` (uint8), each from its offset in ``starts`` (int64, one more than there
    are values) to the next. Only requested values are decoded, and binary search finds one.
    """

    def __init__(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        self._text, self._starts = text, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, code: int) -> str: ...
    @overload
    def __getitem__(self, code: slice) -> list[str]: ...
    def __getitem__(self, code: int | slice) -> str | list[str]:
        if isinstance(code, slice):
            return [self[position] for position in range(*code.indices(len(self)))]
        if not 0 <= code < len(self):
            raise IndexError(code)
        return self._encoded(code).decode()

    def code_of(self, word: str) -> int:
        """Return the code of a value; -1 if no item has it. O(log n)."""
        wanted = word.encode("utf-8", "surrogatepass")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            # UTF-8 sorts like code points.
            if self._encoded(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._encoded(low) == wanted else -1

    def codes_containing(self, text: str, most: int) -> list[int]:
        """Return the codes of the first ``most`` values that contain ``text``, ignoring the case of ASCII letters."""
        wanted, content = text.encode("utf-8", "surrogatepass").lower(), self._text.tobytes().lower()
        codes: list[int] = []
        place = content.find(wanted) if wanted else -1
        while place >= 0 and len(codes) < most:
            code = int(np.searchsorted(self._starts, place, side="right")) - 1
            end = int(self._starts[code + 1])
            if place + len(wanted) <= end:
                codes.append(code)
                place = content.find(wanted, end)
            else:  # across the border of two values
                place = content.find(wanted, place + 1)
        return codes

    def _encoded(self, code: int) -> bytes:
        return self._text[self._starts[code] : self._starts[code + 1]].tobytes()


NO_WORDS = Vocabulary(np.empty(0, np.uint8), np.zeros(1, np.int64))


def packed(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return ``encoded_text`` and ``starts`` of a :class:`Vocabulary` for distinct, sorted ``texts``."""
    encoded = [word.encode() for word in texts]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(encoded_text) for encoded_text in encoded], out=starts[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), starts


# -- Columns ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Column:
    """The values of one field by row, memory-mapped. Items added later have no row here, so their value is unknown.

    ``values`` is float64 (n_rows,) with NaN for unknown values or, for texts, int32 codes with -1 for unknown ones. The
    ``vocabulary`` is sorted, so that codes sort like their texts; it is empty for numbers and times.
    """

    kind: Field.Kind
    values: Values
    vocabulary: Vocabulary = NO_WORDS

    @property
    def is_text(self) -> bool:
        return self.kind == Field.Kind.TEXT

    def known(self) -> NDArray[np.bool_]:
        """Return which rows have a value, bool (n_rows,)."""
        return is_known(self.kind, self.values)

    def of_rows(self, rows: NDArray[np.int64]) -> Values:
        """Return the values of ``rows`` (n,); rows that are not in the column are unknown."""
        found = unknown_values(self.kind, len(rows))
        is_here = rows < len(self.values)
        found[is_here] = self.values[rows[is_here]]
        return found


@dataclass(frozen=True)
class Draft:
    """The values of a field's next generation, in the form of :class:`Column`, with a sorted vocabulary."""

    kind: Field.Kind
    values: Values
    vocabulary: list[str]

    def n_known(self) -> int:
        return int(np.count_nonzero(is_known(self.kind, self.values)))


def is_known(kind: Field.Kind, values: Values) -> NDArray[np.bool_]:
    """Return which values are known, in their shape."""
    return np.asarray(values != UNKNOWN_CODE if kind == Field.Kind.TEXT else ~np.isnan(values))


def unknown_values(kind: Field.Kind, n: int) -> Values:
    """Return a column without any value."""
    if kind == Field.Kind.TEXT:
        return np.full(n, UNKNOWN_CODE, np.int32)
    return np.full(n, np.nan)


def column_of(field: Field) -> Column:
    """Return the values of a field without copying. Raises StoreError if the files are missing or damaged."""
    return _files(field).read_current(field, lambda: _open(field), "kind")


def _open(field: Field) -> Column:
    kind = Field.Kind(field.kind)
    if field.generation == 0:
        return Column(kind, unknown_values(kind, 0))
    files, generation = _files(field), field.generation
    values = files.open("values", generation)
    if kind != Field.Kind.TEXT:
        return Column(kind, values)
    return Column(kind, values, Vocabulary(files.open("words", generation), files.open("starts", generation)))


def stamps_of(field: Field) -> Stamps:
    """Return which file each row was read from: uint64 (n_rows,), 0 for none; empty if the array is lost."""
    stamps = None
    with contextlib.suppress(StoreError):  # the headers can always be read again
        stamps = _files(field).find("stamps", field.generation)
    return np.empty(0, np.uint64) if stamps is None else cast(Stamps, stamps)


def save_column(field: Field, draft: Draft, stamps: Stamps | None = None) -> None:
    """Save ``draft`` as the values of a saved field. Older files are removed once the change is committed."""
    with transaction.atomic():
        # One writer at a time, so that each gets its own generation.
        Dataset.objects.select_for_update().get(pk=field.dataset_id)
        field.refresh_from_db(fields=["generation"])
        files = _files(field)
        field.generation += 1
        field.kind = draft.kind
        field.n_known = draft.n_known()
        arrays: dict[str, NDArray[Any]] = {"values": draft.values}
        if draft.kind == Field.Kind.TEXT:
            arrays["words"], arrays["starts"] = packed(draft.vocabulary)
        if stamps is not None:
            arrays["stamps"] = stamps
        for name, array in arrays.items():
            files.write(name, field.generation, array)
        field.save(update_fields=["generation", "kind", "n_known"])
        transaction.on_commit(partial(files.remove_before, field.generation))


def empty(field: Field) -> None:
    """Clear the field, because the items of its values no longer exist."""
    save_column(field, Draft(Field.Kind(field.kind), unknown_values(Field.Kind(field.kind), 0), []))


def forget_field(instance: Field, **kwargs: object) -> None:
    """Remove the values of a deleted field once the deletion is committed."""
    if instance.pk is not None:
        transaction.on_commit(partial(remove_folder, _files(instance).folder))


def _files(field: Field) -> Generations:
    hint = f"Delete the field {field.name} on the page Fields and import it again."
    return Generations(Path(settings.STORE_DIR) / "fields" / str(field.pk), hint)
