"""Find the items that the decisions of a record are about: by path, or by content if the file was moved."""

from __future__ import annotations

from collections.abc import Collection

from hoshina.core.batches import batched
from labeling.exporting.rows import combined_hash, files_of
from labeling.models import Dataset, Frame, Item
from labeling.tables.report import Names

_AT_ONCE = 900


class Items:
    """Hold the items of a dataset by their numbers in the record. ``changed``: those whose files are not the same."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.ids: dict[int, int] = {}
        self.changed: set[int] = set()
        self.moved = 0
        self.missing = Names()

    def find(self, wanted: dict[int, tuple[str, str]]) -> None:
        """Find the items of some lines: their paths and SHA-256 by their numbers in the record."""
        new = {old: named for old, named in wanted.items() if old not in self.ids}
        by_path: dict[str, int] = {}
        for batch in batched([path for path, _ in new.values()], _AT_ONCE):
            items = Item.objects.of(self._dataset).filter(path__in=batch)
            by_path |= dict(items.values_list("path", "pk"))
        moved = self._by_content({sha256 for path, sha256 in new.values() if path not in by_path and sha256})
        for old, (path, sha256) in new.items():
            found = by_path.get(path) or moved.get(sha256)
            if found is None:
                self.missing.add(path)
            else:
                self.moved += path not in by_path
                self.ids[old] = found
        self._compare({self.ids[old]: sha256 for old, (_, sha256) in new.items() if sha256 and old in self.ids})

    def _by_content(self, hashes: Collection[str]) -> dict[str, int]:
        """Return the items whose only file has this content, where there is one such item."""
        found: dict[str, list[int]] = {}
        for batch in batched(sorted(hashes), _AT_ONCE):
            frames = Frame.objects.filter(dataset=self._dataset, sha256__in=batch)
            for sha256, item_id in frames.values_list("sha256", "item_id"):
                found.setdefault(sha256, []).append(item_id)
        return {sha256: ids[0] for sha256, ids in found.items() if len(ids) == 1}

    def _compare(self, hashes: dict[int, str]) -> None:
        for batch in batched(list(hashes), _AT_ONCE):
            files = files_of(batch)
            self.changed.update(pk for pk in batch if combined_hash(files.get(pk, [])) != hashes[pk])
