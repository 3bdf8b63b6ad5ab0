"""Which items of the dataset the rows of a table are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from labeling.models import Dataset, Item
from labeling.tables.encoding import TableProblem
from labeling.tables.item_column import ANY
from labeling.tables.item_lookup import IN_BATCH, NOBODY, ByAnyKey, ByName, ByPath, Found

# Spreadsheets and data frames turn a column of ids with gaps into 12.0.
_ID = re.compile(r"\d{1,18}(\.0)?")


class Matcher:
    """Finds the items of keys by ``kind``: path, item_id, name, or ANY of what other programs use."""

    def __init__(self, dataset: Dataset, kind: str) -> None:
        self._any = ByAnyKey(dataset) if kind == ANY else None
        self._find: Callable[[Sequence[str]], list[Found]]
        if kind == "item_id":
            self._find = _by_id(dataset)
        elif kind == "name":
            self._find = ByName(dataset)
        elif self._any is not None:
            self._find = self._any
        else:
            by_path = ByPath(dataset)

            def find(keys: Sequence[str]) -> list[Found]:
                found = by_path(keys)
                return [found.get(key, NOBODY) for key in keys]

            self._find = find

    def __call__(self, keys: Sequence[str]) -> list[Found]:
        """Return the item of each key; NOBODY where there is none, SEVERAL where a name means more than one."""
        return self._find(keys)

    @property
    def n_by_name(self) -> int:
        """Return how many items were found by file name though a path was looked for."""
        return self._any.n_by_name if self._any is not None else 0


def id_of(number: int, text: str) -> int:
    """Return the item_id that a cell of line ``number`` holds. Raises TableProblem where it is no whole number."""
    text = text.strip()
    if not _ID.fullmatch(text):
        raise TableProblem(f"Line {number}: item_id is {text[:40]!r}; expected a whole number.")
    return int(text.removesuffix(".0"))


def _by_id(dataset: Dataset) -> Callable[[Sequence[str]], list[Found]]:
    def find(keys: Sequence[str]) -> list[Found]:
        ids = [int(key.strip().removesuffix(".0")) for key in keys]
        found: dict[int, Found] = {}
        for start in range(0, len(ids), IN_BATCH):
            items = Item.objects.of(dataset).filter(pk__in=ids[start : start + IN_BATCH])
            found |= {pk: Found(pk, row) for pk, row in items.values_list("pk", "row")}
        return [found.get(pk, NOBODY) for pk in ids]

    return find
