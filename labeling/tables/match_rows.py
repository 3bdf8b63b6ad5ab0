"""Find the items that the rows of a table are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.models import Dataset, Frame, Item
from labeling.tables.item_column import ANY
from labeling.tables.item_lookup import IN_BATCH, NOBODY, SEVERAL, ByAnyKey, ByName, ByPath, ItemKey

# Spreadsheets and data frames write IDs as 12.0 in columns with missing values.
_ID = re.compile(r"\d{1,18}(\.0)?")


class Matcher:
    """Find items by keys of a ``kind``: path, item_id, name, sha256, or ANY key of other programs."""

    def __init__(self, dataset: Dataset, kind: str) -> None:
        finders: dict[str, Callable[[Dataset], Callable[[Sequence[str]], list[ItemKey]]]]
        finders = {"item_id": _by_id, "name": ByName, "sha256": _by_content, ANY: ByAnyKey}
        self._find = finders.get(kind, _by_path)(dataset)

    def __call__(self, keys: Sequence[str]) -> list[ItemKey]:
        """Return the item of each key, NOBODY if there is none, or SEVERAL if a name is ambiguous."""
        return self._find(keys)

    @property
    def n_by_name(self) -> int:
        """Return the number of items found by file name although a path was expected."""
        return self._find.n_by_name if isinstance(self._find, ByAnyKey) else 0


def id_of(number: int, text: str) -> int:
    """Return the item_id in a cell of line ``number``. Raises Refusal if it is not a whole number."""
    text = text.strip()
    if not _ID.fullmatch(text):
        raise Refusal(f"Line {number}: item_id is {text[:40]!r}. Expected a whole number.")
    return int(text.removesuffix(".0"))


def _by_path(dataset: Dataset) -> Callable[[Sequence[str]], list[ItemKey]]:
    by_path = ByPath(dataset)

    def find(keys: Sequence[str]) -> list[ItemKey]:
        items = by_path(keys)
        return [items.get(key, NOBODY) for key in keys]

    return find


def _by_id(dataset: Dataset) -> Callable[[Sequence[str]], list[ItemKey]]:
    def find(keys: Sequence[str]) -> list[ItemKey]:
        ids = [int(key.strip().removesuffix(".0")) for key in keys]
        rows: dict[int, int] = {}
        for batch in batched(ids, IN_BATCH):
            # With the dataset in the condition, SQLite would read all of its items for each batch.
            found = Item.objects.filter(pk__in=batch).values_list("pk", "row", "dataset_id")
            rows |= {pk: row for pk, row, dataset_id in found if dataset_id == dataset.pk}
        return [ItemKey(pk, rows[pk]) if pk in rows else NOBODY for pk in ids]

    return find


def _by_content(dataset: Dataset) -> Callable[[Sequence[str]], list[ItemKey]]:
    def find(keys: Sequence[str]) -> list[ItemKey]:
        hashes = [key.strip().lower() for key in keys]
        items: dict[str, set[ItemKey]] = {}
        for batch in batched(sorted({text for text in hashes if "\0" not in text}), IN_BATCH):
            frames = Frame.objects.filter(dataset=dataset, sha256__in=batch)
            for sha256, pk, row in frames.values_list("sha256", "item_id", "item__row"):
                items.setdefault(sha256, set()).add(ItemKey(pk, row))
        found = [items.get(text, {NOBODY}) for text in hashes]
        return [next(iter(keys)) if len(keys) == 1 else SEVERAL for keys in found]

    return find
