"""Find the rows of items by the keys of an array: item ids, paths, file names or SHA-256 of the files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoshina.core.batches import batched
from labeling.models import Dataset, Frame, Item
from labeling.tables.item_column import ANY
from labeling.tables.item_lookup import IN_BATCH, NOBODY, SEVERAL
from labeling.tables.match_rows import Matcher, id_of

SHA256 = "sha256"
_HASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,18}(\.0)?")


@dataclass(frozen=True)
class FoundRows:
    """Hold the result of a search: pairs of positions in the keys and rows of items, and positions without an item.

    A SHA-256 may stand for several items with identical files: its position occurs once for each.
    """

    positions: NDArray[np.int64]
    rows: NDArray[np.int64]
    unknown: list[int]
    ambiguous: list[int]


def kind_of(keys: Sequence[str]) -> str:
    """Return what unnamed keys are: ``item_id`` if all are numbers, ``sha256`` if all are hashes, else ANY."""
    if keys and all(_NUMBER.fullmatch(key.strip()) for key in keys):
        return "item_id"
    return SHA256 if keys and all(_HASH.fullmatch(key.strip()) for key in keys) else ANY


class RowFinder:
    """Find the rows of items by keys of a ``kind``: item_id, path, name, sha256 or ANY."""

    def __init__(self, dataset: Dataset, kind: str) -> None:
        self._dataset = dataset
        self._kind = kind
        self._matcher = None if kind in (SHA256, "item_id") else Matcher(dataset, kind)
        self._ids: NDArray[np.int64] | None = None
        self._rows = np.empty(0, np.int64)

    def __call__(self, keys: Sequence[str], first: int = 1) -> FoundRows:
        """Return the rows of a batch of keys; ``first`` is the number of the first for messages. Raises Refusal."""
        if self._kind == "item_id":
            return self._by_id([id_of(first + place, key) for place, key in enumerate(keys)])
        if self._matcher is None:
            return self._by_hash([key.strip().lower() for key in keys])
        items = self._matcher(keys)
        rows = np.array([item.row for item in items], np.int64)
        positions = np.flatnonzero(rows >= 0)
        return FoundRows(positions, rows[positions], _places(rows, NOBODY.row), _places(rows, SEVERAL.row))

    def _by_id(self, ids: Sequence[int]) -> FoundRows:
        if self._ids is None:  # a query for each batch of a million ids would take minutes
            self._ids, self._rows = _ids_and_rows(self._dataset)
        wanted = np.array(ids, np.int64)
        places = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        is_known = self._ids[places] == wanted if len(self._ids) else np.zeros(len(wanted), np.bool_)
        positions = np.flatnonzero(is_known)
        return FoundRows(positions, self._rows[places[positions]], np.flatnonzero(~is_known).tolist(), [])

    def _by_hash(self, keys: Sequence[str]) -> FoundRows:
        rows_of: dict[str, list[int]] = {}
        for sha256, row in self._hashed(keys):
            rows_of.setdefault(sha256, []).append(row)
        pairs = [(place, row) for place, key in enumerate(keys) for row in sorted(set(rows_of.get(key, ())))]
        found = np.array(pairs, np.int64).reshape(-1, 2)
        return FoundRows(found[:, 0], found[:, 1], [n for n, key in enumerate(keys) if key not in rows_of], [])

    def _hashed(self, keys: Iterable[str]) -> Iterable[tuple[str, int]]:
        for batch in batched(list(dict.fromkeys(keys)), IN_BATCH):
            frames = Frame.objects.filter(dataset=self._dataset, sha256__in=batch)
            yield from frames.values_list("sha256", "item__row")


def _ids_and_rows(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of all items, ascending, and their rows: 16 bytes an item."""
    pairs = Item.objects.of(dataset).order_by("pk").values_list("pk", "row").iterator(chunk_size=10_000)
    flat = np.fromiter((value for pair in pairs for value in pair), np.int64).reshape(-1, 2)
    return flat[:, 0].copy(), flat[:, 1].copy()


def _places(rows: NDArray[np.int64], value: int) -> list[int]:
    return np.flatnonzero(rows == value).tolist()
