"""Which rows of the dataset a file's lines speak of: by path, by id, or by file name."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from labeling.fields.reading import FieldProblem, Line
from labeling.images.opening import DEFAULT_EXTENSIONS
from labeling.importing.finding import IN_BATCH, ByPath
from labeling.models import Dataset, Item

# Spreadsheets and data frames turn a column of ids with gaps into 12.0.
_ID = re.compile(r"\d{1,18}(\.0)?")
_LONGEST_FIRST = sorted(DEFAULT_EXTENSIONS, key=len, reverse=True)
NOBODY, SEVERAL = -1, -2

# Rows of some lines, NOBODY where there is no such item, SEVERAL where a name means more than one.
Match = Callable[[Sequence[Line]], list[int]]


def matcher(dataset: Dataset, key: str) -> Match:
    """How lines find their items by ``key``: path, item_id or name."""
    if key == "item_id":
        return _by_id(dataset)
    if key == "name":
        return ByName(dataset)
    by_path = ByPath(dataset)

    def match(lines: Sequence[Line]) -> list[int]:
        found = by_path(line.key for line in lines)
        return [found[line.key].row if line.key in found else NOBODY for line in lines]

    return match


def _by_id(dataset: Dataset) -> Match:
    def match(lines: Sequence[Line]) -> list[int]:
        ids = [_id(line) for line in lines]
        found: dict[int, int] = {}
        for start in range(0, len(ids), IN_BATCH):
            items = Item.objects.of(dataset).filter(pk__in=ids[start : start + IN_BATCH])
            found |= dict(items.values_list("pk", "row"))
        return [found.get(pk, NOBODY) for pk in ids]

    return match


def _id(line: Line) -> int:
    key = line.key.strip()
    if not _ID.fullmatch(key):
        raise FieldProblem(f"Line {line.number}: item_id is {key[:40]!r}; expected a whole number.")
    return int(key.removesuffix(".0"))


class ByName:
    """Finds items by their file's name, with or without its ending; 32 bytes an item.

    Names are kept as hashes: what is found is compared with the real one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        items = Item.objects.of(dataset).order_by("row").values_list("row", "path")
        hashes, rows = array("q"), array("q")
        for row, path in items.iterator(chunk_size=10_000):
            for name in names_of(path):
                hashes.append(hash(name))
                rows.append(row)
        order = np.argsort(np.asarray(hashes, np.int64), kind="stable")
        self._hashes: NDArray[np.int64] = np.asarray(hashes, np.int64)[order]
        self._rows: NDArray[np.int64] = np.asarray(rows, np.int64)[order]

    def __call__(self, lines: Sequence[Line]) -> list[int]:
        names = [PurePosixPath(line.key.strip().replace("\\", "/")).name for line in lines]
        wanted = np.array([hash(name) for name in names], np.int64)
        starts, ends = (np.searchsorted(self._hashes, wanted, side=side) for side in ("left", "right"))
        found = [
            NOBODY if start == end else SEVERAL if end - start > 1 else int(self._rows[start])
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        paths = self._paths([row for row in found if row >= 0])
        return [
            row if row < 0 or name in names_of(paths[row]) else NOBODY for row, name in zip(found, names, strict=True)
        ]

    def _paths(self, rows: list[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        for start in range(0, len(rows), IN_BATCH):
            items = Item.objects.of(self._dataset).filter(row__in=rows[start : start + IN_BATCH])
            found |= dict(items.values_list("row", "path"))
        return found


def names_of(path: str) -> set[str]:
    """A file's name, and the name without its ending."""
    name = PurePosixPath(path).name
    ending = next((one for one in _LONGEST_FIRST if name.lower().endswith(one)), PurePosixPath(name).suffix)
    return {name, name[: len(name) - len(ending)] or name}
