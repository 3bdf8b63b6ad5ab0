"""Match moved and renamed files to their items by content, so that row, labels and vectors are kept.

A *free* item is one whose file is missing or now has other content. A *stray* is a file with content that was not
recorded at its path. Strays are assigned to free items of the same content one to one: first to items with a decision,
then in the order of paths.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Self

import msgspec
from django.db.models import Case, Count, IntegerField, Q, Value, When

from labeling.images.file_check import Examined
from labeling.images.problems import ImageProblem
from labeling.images.source_file import regular_file
from labeling.ingest.bulk_sql import FILLED, set_available, update_many, values_of
from labeling.models import MAX_PATH, Dataset, Frame, Item, State

# For contents with more items than this, the search continues where the last one stopped. A folder may contain
# 100,000 black images, and checking all of them for every batch of strays would take forever.
_FEW = 50
_SPOOLED_IN_MEMORY = 1_000_000


@dataclass(frozen=True, slots=True)
class Stray:
    """A file with content that was not recorded at its path."""

    path: str
    examined: Examined


@dataclass(frozen=True, slots=True)
class FreeItem:
    """An item in the database that a stray may belong to."""

    sha256: str
    item_id: int
    frame_id: int
    row: int
    path: str
    size: int
    mtime_ns: int
    rank: int


class FreeItemFinder:
    """Find the free items of a dataset for strays. Create one finder per run."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.root = dataset.data_dir
        # Rank and path of the last item checked, for contents with many items.
        self._reached: dict[str, tuple[int, str]] = {}

    def find(self, strays: Sequence[Stray]) -> dict[str, FreeItem]:
        """Return the free items of strays by the strays' paths, without strays that have none."""
        waiting: dict[str, deque[Stray]] = defaultdict(deque)
        for stray in strays:
            waiting[stray.examined.sha256].append(stray)
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in=list(waiting))
        counted = frames.values_list("sha256").annotate(n=Count("pk"))
        few: list[str] = []
        many: list[str] = []
        for sha256, n in counted:
            (few if n <= _FEW else many).append(sha256)
        matches: dict[str, FreeItem] = {}
        for free_item in self._items_with(few) if few else ():
            self._offer(free_item, waiting[free_item.sha256], matches)
        for sha256 in many:
            for free_item in self._items_with([sha256], self._reached.get(sha256)):
                if not waiting[sha256]:
                    break
                self._reached[sha256] = (free_item.rank, free_item.path)
                self._offer(free_item, waiting[sha256], matches)
        return matches

    def _offer(self, free_item: FreeItem, strays: deque[Stray], matches: dict[str, FreeItem]) -> None:
        if strays and self._is_free(free_item, strays[0]):
            matches[strays.popleft().path] = free_item

    def _items_with(self, hashes: Sequence[str], after: tuple[int, str] | None = None) -> Iterator[FreeItem]:
        """Yield the items with these contents, those with decisions first, then by path."""
        undecided = Case(
            When(item__state=State.UNLABELLED, then=Value(1)), default=Value(0), output_field=IntegerField()
        )
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in=hashes).annotate(rank=undecided)
        if after is not None:
            frames = frames.filter(Q(rank__gt=after[0]) | Q(rank=after[0], path__gt=after[1]))
        names = ("sha256", "item_id", "id", "item__row", "path", "size", "mtime_ns", "rank")
        for values in frames.order_by("rank", "path").values_list(*names).iterator(chunk_size=500):
            yield FreeItem(*values)

    def _is_free(self, free_item: FreeItem, stray: Stray) -> bool:
        """Return whether an item's content is no longer at its path."""
        file = self.root / free_item.path
        try:
            status = file.stat()
            if status.st_size != free_item.size or _is_respelt(file, self.root / stray.path):
                return True
            if status.st_mtime_ns == free_item.mtime_ns:
                return False
            with regular_file(file) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() != free_item.sha256
        except (FileNotFoundError, NotADirectoryError, ImageProblem):
            return True
        except OSError:  # it may still exist
            return False


def _is_respelt(old: Path, new: Path) -> bool:
    """Return whether only the case of a name changed, on a case-insensitive disk (Windows, macOS)."""
    if old == new or str(old).casefold() != str(new).casefold() or not old.samefile(new):
        return False
    for folder, was, name in zip(_folders(new), old.parts, new.parts, strict=True):
        if was != name:
            return was not in {entry.name for entry in folder.iterdir()}
    return False


def _folders(path: Path) -> list[Path]:
    """Return the folder that contains each part of a path; for the first part, a drive or the root, the part itself."""
    return [Path(path.parts[0]), *reversed(path.parents)]


class SpooledStrays:
    """Strays stored in a temporary file until the whole folder is scanned, so that a million do not fill the memory."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOLED_IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self.n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, stray: Stray) -> None:
        self._file.write(msgspec.json.encode(stray) + b"\n")
        self.n += 1

    def batches(self, size: int) -> Iterator[list[Stray]]:
        """Yield batches of ``size`` strays in the order in which they were added."""
        self._file.seek(0)
        strays = (msgspec.json.decode(line, type=Stray) for line in self._file)
        while batch := list(islice(strays, size)):
            yield batch


def move(dataset: Dataset, free_items: dict[str, FreeItem], examined: dict[str, Examined]) -> set[str]:
    """Update moved items to the current paths of their files. Return the paths that were assigned.

    An item that has one of these paths, although its own file is elsewhere or missing, gets a placeholder path. The
    dataset must be locked.
    """
    ids = [free_item.item_id for free_item in free_items.values()]
    # Another run that was presumed dead may have moved some of them.
    unmoved = set(Item.objects.filter(pk__in=ids).values_list("pk", "path"))
    free_items = {
        path: free_item for path, free_item in free_items.items() if (free_item.item_id, free_item.path) in unmoved
    }
    if not free_items:
        return set()
    _make_way(dataset, list(free_items), keep={free_item.item_id for free_item in free_items.values()})
    update_many(Item, ("path",), [(path, free_item.item_id) for path, free_item in free_items.items()])
    frames = [(path, *values_of(examined[path]), free_item.frame_id) for path, free_item in free_items.items()]
    update_many(Frame, ("path", *FILLED), frames)
    set_available(dataset, [free_item.item_id for free_item in free_items.values()], True)
    return set(free_items)


def _make_way(dataset: Dataset, paths: Sequence[str], *, keep: set[int]) -> None:
    """Give items at these paths placeholder paths, and mark them as missing until their own files are found."""
    items = list(Item.objects.filter(dataset=dataset, path__in=paths))
    frames = list(Frame.objects.filter(item__in=items, path__in=paths))
    aside = {item.pk: f"{item.path[: MAX_PATH - 60]} (replaced, image {item.row})" for item in items}
    update_many(Item, ("path",), [(path, pk) for pk, path in aside.items()])
    update_many(Frame, ("path",), [(aside[frame.item_id], frame.pk) for frame in frames])
    set_available(dataset, [item.pk for item in items if item.pk not in keep], False)
