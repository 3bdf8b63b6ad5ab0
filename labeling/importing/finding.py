"""Finding the items that a file speaks of by their paths."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from labeling.models import Dataset, Frame, Item

# Values of one IN (…): below 999, what the oldest supported SQLite takes.
IN_BATCH = 900


class Found(NamedTuple):
    """An item: its id, and its row."""

    pk: int
    row: int


class ByPath:
    """Finds items by paths as people's files have them, some hundred at a time."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._roots = tuple(
            f"{str(root).replace(chr(92), '/').rstrip('/')}/" for root in (dataset.root, dataset.data_dir)
        )

    def __call__(self, paths: Iterable[str]) -> dict[str, Found]:
        """The item of each path as it was given; paths of no item are left out.

        A path may be the item's, that of one of its frames, or another way to write either: Windows' separators, the
        whole path, another Unicode form.
        """
        wanted = set(paths)
        known = self._known(wanted)
        others = {path: list(self._alternatives(path)) for path in wanted - known.keys()}
        known |= self._known({spelling for spellings in others.values() for spelling in spellings} - known.keys())
        found = {path: known[path] for path in wanted & known.keys()}
        for path, spellings in others.items():
            item = next((known[spelling] for spelling in spellings if spelling in known), None)
            if item is not None:
                found[path] = item
        return found

    def _known(self, paths: set[str]) -> dict[str, Found]:
        # PostgreSQL's text has no NUL, and no path has one either.
        wanted = [path for path in paths if "\0" not in path]
        found: dict[str, Found] = {}
        for start in range(0, len(wanted), IN_BATCH):
            some = wanted[start : start + IN_BATCH]
            items = Item.objects.of(self._dataset).filter(path__in=some)
            found |= {path: Found(pk, row) for path, pk, row in items.values_list("path", "pk", "row")}
        if self._dataset.grouping:
            found |= self._frames([path for path in wanted if path not in found])
        return found

    def _frames(self, paths: list[str]) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for start in range(0, len(paths), IN_BATCH):
            frames = Frame.objects.filter(dataset=self._dataset, path__in=paths[start : start + IN_BATCH])
            found |= {path: Found(pk, row) for path, pk, row in frames.values_list("path", "item_id", "item__row")}
        return found

    def _alternatives(self, path: str) -> Iterator[str]:
        tidy = path.strip().replace("\\", "/").removeprefix("./")
        for root in self._roots:
            tidy = tidy.removeprefix(root)
        yield tidy
        yield unicodedata.normalize("NFC", tidy)
        yield unicodedata.normalize("NFD", tidy)
