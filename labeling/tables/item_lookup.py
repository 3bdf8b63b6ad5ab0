"""Find items by what tables call them: the item's path, a path on another machine, or the name of its file."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.models import Dataset, Frame, Item

# Values of one IN (…): below 999, what the oldest supported SQLite takes.
IN_BATCH = 900
_LONGEST_FIRST = sorted(DEFAULT_EXTENSIONS, key=len, reverse=True)
# Label Studio puts eight digits before the names of files that were uploaded.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class Found(NamedTuple):
    """An item: its id, and its row."""

    pk: int
    row: int


# No item has the key; several items have it.
NOBODY, SEVERAL = Found(-1, -1), Found(-2, -2)


class ByPath:
    """Finds items by paths as people's files have them, some hundred at a time."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._roots = tuple(
            f"{str(root).replace(chr(92), '/').rstrip('/')}/" for root in (dataset.root, dataset.data_dir)
        )

    def __call__(self, paths: Iterable[str]) -> dict[str, Found]:
        """Return the item of each path as it was given; paths of no item are left out.

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


class ByName:
    """Finds items by their file's name, with or without its ending; 32 bytes an item.

    Names are kept as hashes; what is found is compared with the real name.
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

    def __call__(self, keys: Sequence[str], *, with_folders: bool = False) -> list[Found]:
        """The item of each key, NOBODY or SEVERAL; ``with_folders``: only where the key's folders are the item's."""
        tidy = [key.strip().replace("\\", "/").removeprefix("./") for key in keys]
        names = [PurePosixPath(key).name for key in tidy]
        wanted = np.array([hash(name) for name in names], np.int64)
        starts, ends = (np.searchsorted(self._hashes, wanted, side=side) for side in ("left", "right"))
        rows = [
            NOBODY.row if start == end else SEVERAL.row if end - start > 1 else int(self._rows[start])
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        items = self._items([row for row in rows if row >= 0])
        found = []
        for key, name, row in zip(tidy, names, rows, strict=True):
            if row < 0:
                found.append(SEVERAL if row == SEVERAL.row else NOBODY)
                continue
            item, path = items[row]
            fits = name in names_of(path) and (not with_folders or _has_folders(path, key))
            found.append(item if fits else NOBODY)
        return found

    def _items(self, rows: list[int]) -> dict[int, tuple[Found, str]]:
        found: dict[int, tuple[Found, str]] = {}
        for start in range(0, len(rows), IN_BATCH):
            items = Item.objects.of(self._dataset).filter(row__in=rows[start : start + IN_BATCH])
            found |= {row: (Found(pk, row), path) for pk, row, path in items.values_list("pk", "row", "path")}
        return found


def names_of(path: str) -> set[str]:
    """Return a file's name, and the name without its ending."""
    name = PurePosixPath(path).name
    ending = next((one for one in _LONGEST_FIRST if name.lower().endswith(one)), PurePosixPath(name).suffix)
    return {name, name[: len(name) - len(ending)] or name}


def _has_folders(path: str, key: str) -> bool:
    """Return whether the folders of ``key`` are the last ones of ``path``."""
    folders = PurePosixPath(key).parts[:-1]
    return not folders or PurePosixPath(path).parts[:-1][-len(folders) :] == folders


class ByAnyKey:
    """Finds items by what other programs call them.

    That is a path of the dataset; a path below the same folders on another machine, which all such keys of the table
    share; or a file name with or without its ending, with the last of the item's folders or none. ``n_by_name`` counts
    the items that were found by file name.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._by_path = ByPath(dataset)
        self._by_name: ByName | None = None
        # What the paths of the other machine begin with.
        self._prefix = ""
        self.n_by_name = 0

    def __call__(self, keys: Sequence[str]) -> list[Found]:
        found: dict[str, Found] = dict(self._by_path(keys))
        left = {key: _local(key) for key in keys if key not in found}
        self._learn_prefix(left.values())
        if self._prefix:
            shorter = {key: local.removeprefix(self._prefix) for key, local in left.items()}
            items = self._by_path(shorter.values())
            found |= {key: items[short] for key, short in shorter.items() if short in items}
        if rest := [key for key in left if key not in found]:
            named = self._named([left[key] for key in rest])
            found |= dict(zip(rest, named, strict=True))
        return [found[key] for key in keys]

    def _learn_prefix(self, paths: Iterable[str]) -> None:
        """Find, once, which folders of another machine stand before the dataset's own."""
        tries = [path for path in paths if path.count("/") > 0][:10] if not self._prefix else []
        for path in tries:
            ends = [path[place + 1 :] for place, letter in enumerate(path) if letter == "/"]
            items = self._by_path(ends)
            longest = next((end for end in ends if end in items), "")
            if longest:
                self._prefix = path[: len(path) - len(longest)]
                return

    def _named(self, keys: Sequence[str]) -> list[Found]:
        self._by_name = self._by_name or ByName(self._dataset)
        found = self._by_name(keys, with_folders=True)
        bare = [_UPLOADED.sub("", PurePosixPath(key).name, count=1) for key in keys]
        again = [place for place, item in enumerate(found) if item == NOBODY and bare[place] != _last(keys[place])]
        for place, item in zip(again, self._by_name([bare[place] for place in again]), strict=True):
            found[place] = item
        self.n_by_name += sum(item.row >= 0 for item in found)
        return found


def _last(key: str) -> str:
    return PurePosixPath(key).name


def _local(key: str) -> str:
    """Return the path that a URL of an annotation tool means; other keys with forward slashes."""
    tidy = key.strip().replace("\\", "/").removeprefix("./")
    if "?d=" in tidy:  # Label Studio's local files
        return parse_qs(urlsplit(tidy).query).get("d", [tidy])[0]
    return unquote(urlsplit(tidy).path) if _URL.match(tidy) else tidy
