"""Find items by the keys in tables: the item's path, a path on another machine, or a file name."""

from __future__ import annotations

import itertools
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from hoshina.core.batches import batched
from labeling.exporting.names import flat_name
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.models import Dataset, Frame, Item

# Values per IN (…). The oldest supported SQLite accepts up to 999.
IN_BATCH = 900
_LONGEST_FIRST = sorted(DEFAULT_EXTENSIONS, key=len, reverse=True)
# The prefix of eight hexadecimal digits that Label Studio adds to the names of uploaded files.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
# The names of files in exports of other layouts than tables begin with the ID of the item.
_EXPORTED = re.compile(r"([1-9][0-9]{0,17})_.")
# Items of one file name whose folders are compared with those of a key.
_MOST_ALIKE = 500
_FOREIGN = re.compile(r"(/|\\\\|[a-z]:[\\/]|[a-z][a-z0-9+.-]+://|images[\\/])", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class ItemKey(NamedTuple):
    """The ID and row of an item."""

    pk: int
    row: int


# Results if no item, or several items, have the key.
NOBODY, SEVERAL = ItemKey(-1, -1), ItemKey(-2, -2)


class ByPath:
    """Find items by their paths in users' files."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._roots = tuple(
            f"{str(root).replace(chr(92), '/').rstrip('/')}/" for root in (dataset.root, dataset.data_dir)
        )

    def __call__(self, paths: Iterable[str]) -> dict[str, ItemKey]:
        """Return the items by the given paths, without paths that no item has.

        A path may belong to the item or to one of its frames. It may also be another spelling: with Windows separators,
        absolute, or in another Unicode form.
        """
        distinct = set(paths)
        stored = self._stored(distinct)
        others = {path: list(self._alternatives(path)) for path in distinct - stored.keys()}
        stored |= self._stored({spelling for spellings in others.values() for spelling in spellings} - stored.keys())
        items = {path: stored[path] for path in distinct & stored.keys()}
        for path, spellings in others.items():
            item = next((stored[spelling] for spelling in spellings if spelling in stored), None)
            if item is not None:
                items[path] = item
        return items

    def _stored(self, paths: set[str]) -> dict[str, ItemKey]:
        # PostgreSQL does not accept NUL in text, and paths never contain it.
        valid = [path for path in paths if "\0" not in path]
        keys: dict[str, ItemKey] = {}
        for batch in batched(valid, IN_BATCH):
            items = Item.objects.of(self._dataset).filter(path__in=batch)
            keys |= {path: ItemKey(pk, row) for path, pk, row in items.values_list("path", "pk", "row")}
        if self._dataset.grouping:
            keys |= self._frames([path for path in valid if path not in keys])
        return keys

    def _frames(self, paths: list[str]) -> dict[str, ItemKey]:
        keys: dict[str, ItemKey] = {}
        for batch in batched(paths, IN_BATCH):
            frames = Frame.objects.filter(dataset=self._dataset, path__in=batch)
            keys |= {path: ItemKey(pk, row) for path, pk, row in frames.values_list("path", "item_id", "item__row")}
        return keys

    def _alternatives(self, path: str) -> Iterator[str]:
        tidy = path.strip().replace("\\", "/").removeprefix("./")
        for root in self._roots:
            tidy = tidy.removeprefix(root)
        yield tidy
        yield unicodedata.normalize("NFC", tidy)
        yield unicodedata.normalize("NFD", tidy)


class ByName:
    """Find items by file name, with or without its extension, with an index of 32 bytes per item.

    The index stores hashes of names. Matches are compared with the actual names.
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

    def __call__(self, keys: Sequence[str], *, with_folders: bool = False) -> list[ItemKey]:
        """Return each key's item, NOBODY or SEVERAL; ``with_folders``: the folders have to fit too."""
        tidy = [key.strip().replace("\\", "/").removeprefix("./") for key in keys]
        names = [PurePosixPath(key).name for key in tidy]
        hashes = np.array([hash(name) for name in names], np.int64)
        starts, ends = (np.searchsorted(self._hashes, hashes, side=side) for side in ("left", "right"))
        rows = [
            self._rows[start : min(end, start + _MOST_ALIKE + 1)].tolist()
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        is_read = [len(alike) == 1 or (with_folders and "/" in key) for alike, key in zip(rows, tidy, strict=True)]
        items = self._items(sorted({row for alike, read in zip(rows, is_read, strict=True) if read for row in alike}))
        matches = []
        for key, name, alike, read in zip(tidy, names, rows, is_read, strict=True):
            if len(alike) > 1 and (not read or len(alike) > _MOST_ALIKE):
                matches.append(SEVERAL)
                continue
            named = [items[row] for row in alike if name in names_of(items[row][1])]
            matches.append(_nearest(named, key) if with_folders else named[0][0] if named else NOBODY)
        return matches

    def _items(self, rows: list[int]) -> dict[int, tuple[ItemKey, str]]:
        keys: dict[int, tuple[ItemKey, str]] = {}
        for batch in batched(rows, IN_BATCH):
            items = Item.objects.of(self._dataset).filter(row__in=batch)
            keys |= {row: (ItemKey(pk, row), path) for pk, row, path in items.values_list("pk", "row", "path")}
        return keys


def names_of(path: str) -> set[str]:
    """Return a file's name with and without its extension."""
    name = PurePosixPath(path).name
    extensions = (extension for extension in _LONGEST_FIRST if name.lower().endswith(extension))
    extension = next(extensions, PurePosixPath(name).suffix)
    return {name, name[: len(name) - len(extension)] or name}


def _nearest(items: Sequence[tuple[ItemKey, str]], key: str) -> ItemKey:
    """Return the item of the same file name that shares most of the last folders with ``key``: one, or nobody.

    An item of other folders than those of the key is not meant.
    """
    folders = PurePosixPath(key).parts[:-1]
    shared = [(_n_shared(PurePosixPath(path).parts[:-1], folders), item) for item, path in items]
    most = max((n for n, _ in shared), default=0)
    if folders and not most:
        return NOBODY
    nearest = [item for n, item in shared if n == most]
    return nearest[0] if len(nearest) == 1 else SEVERAL if nearest else NOBODY


def _n_shared(folders: tuple[str, ...], others: tuple[str, ...]) -> int:
    """Return how many of their last folders two paths share."""
    pairs = zip(reversed(folders), reversed(others), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


class ByAnyKey:
    """Find items by the keys of other programs.

    A key may be a path of the dataset; a path in a folder of another machine, which all such keys of the table share;
    the name of a file in an export of this dataset; or a file name with or without its extension, with or without the
    last of the item's folders. ``n_by_name`` counts the items found by file name.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._by_path = ByPath(dataset)
        self._by_name: ByName | None = None
        # The common prefix of the paths from the other machine.
        self._prefix = ""
        self.n_by_name = 0

    def __call__(self, keys: Sequence[str]) -> list[ItemKey]:
        items: dict[str, ItemKey] = dict(self._by_path(keys))
        left = {key: _local(key) for key in keys if key not in items}
        self._learn_prefix(left.values())
        if self._prefix:
            shorter = {key: local.removeprefix(self._prefix) for key, local in left.items()}
            items_by_path = self._by_path(shorter.values())
            items |= {key: items_by_path[short] for key, short in shorter.items() if short in items_by_path}
        items |= self._exported([key for key in left if key not in items])
        if rest := [key for key in left if key not in items]:
            named = self._named([left[key] for key in rest])
            items |= dict(zip(rest, named, strict=True))
        return [items[key] for key in keys]

    def _learn_prefix(self, paths: Iterable[str]) -> None:
        """Find, once, the folders of another machine that precede the dataset's paths."""
        samples = [path for path in paths if path.count("/") > 0][:10] if not self._prefix else []
        for path in samples:
            ends = [path[place + 1 :] for place, letter in enumerate(path) if letter == "/"]
            items = self._by_path(ends)
            longest = next((end for end in ends if end in items), "")
            if longest:
                self._prefix = path[: len(path) - len(longest)]
                return

    def _exported(self, keys: Sequence[str]) -> dict[str, ItemKey]:
        """Return the items by the names that exports gave to their files: the ID, and a path that has to be theirs."""
        ids = {key: int(match[1]) for key in keys if (match := _EXPORTED.match(_last(key)))}
        items: dict[str, ItemKey] = {}
        for batch in batched(list(ids), IN_BATCH):
            found = Item.objects.filter(pk__in=[ids[key] for key in batch]).in_bulk()
            for key in batch:
                item = found.get(ids[key])
                is_same = item is not None and item.dataset_id == self._dataset.pk
                if item is not None and is_same and _last(key) in names_of(flat_name(item.pk, item.path)):
                    items[key] = ItemKey(item.pk, item.row)
        return items

    def _named(self, keys: Sequence[str]) -> list[ItemKey]:
        self._by_name = self._by_name or ByName(self._dataset)
        items = self._by_name(keys, with_folders=True)
        bare = [_UPLOADED.sub("", PurePosixPath(key).name, count=1) for key in keys]
        again = [place for place, item in enumerate(items) if item == NOBODY and bare[place] != _last(keys[place])]
        for place, item in zip(again, self._by_name([bare[place] for place in again]), strict=True):
            items[place] = item
        self.n_by_name += sum(item.row >= 0 for item in items)
        return items


def is_foreign(path: str) -> bool:
    """Return whether a path is absolute or a URL, or below ``images/`` as in exports."""
    return bool(_FOREIGN.match(path.strip()))


def _last(key: str) -> str:
    return PurePosixPath(key).name


def _local(key: str) -> str:
    """Return the path in the URL of an annotation tool, or the key with forward slashes if it is not a URL."""
    tidy = key.strip().replace("\\", "/").removeprefix("./")
    if "?d=" in tidy:  # Label Studio's local files
        return parse_qs(urlsplit(tidy).query).get("d", [tidy])[0]
    return unquote(urlsplit(tidy).path) if _URL.match(tidy) else tidy
