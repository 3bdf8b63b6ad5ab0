"""Fill columns row by row, and merge them with earlier values."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from labeling.fields.columns import UNKNOWN_CODE, Column, Draft, Values, unknown_values
from labeling.fields.item_values import texts_of
from labeling.fields.parse_values import is_unknown, number_of, time_of
from labeling.models import Field

Kind = Field.Kind


class Disagreement(Exception):
    """The row already has a different value."""


class Filling:
    """A column of ``n_rows`` unknown values to be filled with text as people write it; 8 bytes a row."""

    def __init__(self, kind: Field.Kind, n_rows: int) -> None:
        self.kind = kind
        is_text = kind == Kind.TEXT
        self._values: array[Any] = array("i", [UNKNOWN_CODE]) * n_rows if is_text else array("d", [np.nan]) * n_rows
        self._codes: dict[str, int] = {}
        # The number of values that are not of this kind, and the first of them.
        self.n_unfit = 0
        self.unfit = ""

    def put(self, row: int, text: str, *, replaces: bool = False) -> None:
        """Set the row to a stripped value. Raises Disagreement if it has a different one, unless that is replaced."""
        if is_unknown(text):
            return
        if self.kind == Kind.TEXT:
            code = self._codes.setdefault(text, len(self._codes))
            if not replaces and self._values[row] not in (UNKNOWN_CODE, code):
                raise Disagreement
            self._values[row] = code
            return
        value = number_of(text) if self.kind == Kind.NUMBER else time_of(text)
        if value is None:
            self.n_unfit += 1
            self.unfit = self.unfit or text
            return
        before = self._values[row]
        if not replaces and before == before and before != value:  # NaN does not equal itself
            raise Disagreement
        self._values[row] = value

    def draft(self) -> Draft:
        """Return the filled column with sorted texts. Numbers are not copied, so do not fill it afterwards."""
        if self.kind != Kind.TEXT:
            return Draft(self.kind, np.frombuffer(self._values, np.float64), [])
        vocabulary = sorted(self._codes)
        place = np.empty(len(vocabulary) + 1, np.int32)
        place[[self._codes[word] for word in vocabulary]] = np.arange(len(vocabulary), dtype=np.int32)
        place[UNKNOWN_CODE] = UNKNOWN_CODE
        return Draft(self.kind, place[np.frombuffer(self._values, np.int32)], vocabulary)


def laid_over(older: Column, newer: Draft) -> tuple[Draft, int]:
    """Return the older values, replaced by known newer ones, and the number of values that changed."""
    n = max(len(older.values), len(newer.values))
    base = _padded(older.values, older.kind, n)
    over = _padded(newer.values, newer.kind, n)
    if newer.kind != Kind.TEXT:
        is_known = ~np.isnan(over)
        changed = is_known & ~(base == over)
        return Draft(newer.kind, np.where(is_known, over, base), []), int(changed.sum())
    vocabulary = sorted({*older.vocabulary, *newer.vocabulary})
    code = {word: number for number, word in enumerate(vocabulary)}
    base = _recoded(base, [code[word] for word in older.vocabulary])
    over = _recoded(over, [code[word] for word in newer.vocabulary])
    is_known = over != UNKNOWN_CODE
    merged = np.where(is_known, over, base).astype(np.int32)
    return _without_spare(Draft(Kind.TEXT, merged, vocabulary)), int((is_known & (base != over)).sum())


def _padded(values: Values, kind: Field.Kind, n: int) -> Values:
    padded = unknown_values(kind, n)
    padded[: len(values)] = values
    return padded


def _recoded(codes: Values, numbers: list[int]) -> Values:
    table = np.array([*numbers, UNKNOWN_CODE], np.int32)  # -1 (unknown) is the last index
    return table[codes.astype(np.int32)]


def _without_spare(draft: Draft) -> Draft:
    """Return the column without texts that no row has."""
    codes = draft.values.astype(np.int32)
    is_used = np.zeros(len(draft.vocabulary), np.bool_)
    is_used[codes[codes != UNKNOWN_CODE]] = True
    if is_used.all():
        return draft
    numbers = np.where(is_used, np.cumsum(is_used) - 1, UNKNOWN_CODE).tolist()
    vocabulary = [word for word, used in zip(draft.vocabulary, is_used.tolist(), strict=True) if used]
    return Draft(draft.kind, _recoded(codes, numbers), vocabulary)


def converted(column: Column, kind: Field.Kind) -> tuple[Draft, int, str]:
    """Return a column as another kind, the number of values that do not fit, and the first of these."""
    filling = Filling(kind, len(column.values))
    rows = np.flatnonzero(column.known())
    for row, text in zip(rows.tolist(), texts_of(column, rows), strict=True):
        filling.put(row, text)
    return filling.draft(), filling.n_unfit, filling.unfit
