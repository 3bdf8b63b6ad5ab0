"""Return values of fields as text, for an item's page and for tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoshina.core.storage import StoreError
from labeling.fields.columns import UNKNOWN_CODE, Column, column_of
from labeling.fields.parse_values import number_text, time_text
from labeling.models import Dataset, Field


@dataclass(frozen=True)
class Fact:
    """The value of a field for an item; empty if it is unknown."""

    field: Field
    text: str


def facts_of(dataset: Dataset, row: int) -> list[Fact]:
    """Return all fields of the item in that row, in order, with one query."""
    facts = []
    for field in Field.objects.filter(dataset=dataset):
        try:
            (text,) = texts_of(column_of(field), np.array([row]))
        except StoreError as damaged:
            text = damaged.message
        facts.append(Fact(field, text))
    return facts


def texts_of(column: Column, rows: NDArray[np.int64]) -> Sequence[str]:
    """Return the values of ``rows`` (n,) as text that reads back as the same value; "" for unknown ones."""
    values = column.of_rows(rows)
    if column.is_text:
        texts = {code: column.vocabulary[code] for code in np.unique(values).tolist() if code != UNKNOWN_CODE}
        return [texts.get(code, "") for code in values.tolist()]
    write = number_text if column.kind == Field.Kind.NUMBER else time_text
    return ["" if value != value else write(value) for value in values.tolist()]
