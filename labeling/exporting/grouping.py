"""Splits by groups: items of equal value in a field share one, so that nothing of a group leaks into the test."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hoshina.arrays import StoreError
from labeling.exporting.options import OptionError
from labeling.fields import column_of
from labeling.fields.facts import texts_of
from labeling.models import Dataset, Field
from labeling.splits import split_key


class Groups:
    """The values of the field by which items are grouped, as they were when the export began.

    Raises
    ------
    OptionError
        There is no such field, or its values can't be read.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        field = Field.objects.filter(dataset=dataset, name__iexact=name).first()
        if field is None:
            raise OptionError(f"There is no field {name!r} to group by.")
        try:
            self._column = column_of(field)
        except StoreError as damaged:
            raise OptionError(str(damaged)) from damaged

    def texts(self, rows: array[int]) -> Sequence[str]:
        """The group of each row, "" where it is unknown."""
        return texts_of(self._column, np.asarray(rows, dtype=np.int64))

    def keys(self, rows: array[int], own: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
        """A key for each row, (n,), equal for those of one group; ``own`` (n,) for those whose group is unknown."""
        values = self._column.of_rows(np.asarray(rows, dtype=np.int64))
        _, first, place = np.unique(values, return_index=True, return_inverse=True)
        texts = self.texts(array("q", (rows[one] for one in first.tolist())))
        keys = np.array([split_key(f"group:{text}", seed) for text in texts], dtype=np.uint64)
        is_known = np.array([text != "" for text in texts], dtype=np.bool_)
        return np.where(is_known[place], keys[place], own) if len(keys) else own
