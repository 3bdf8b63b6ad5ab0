"""Files that were moved or renamed: their items follow them by content, with row, labels and vectors.

An item is *free* when the file at its path is gone, or holds something else by now. A *stray* is a file at a
path where its content was not known to be. Strays are given the free items of the same content one to one:
first those that somebody decided about, then in the order of their paths.
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

# Of a content with more items than this it is remembered which were looked at: a folder may hold 100,000 black
# images, and looking at all of them for every batch of strays would never end.
_FEW = 50
_SPOOLED_IN_MEMORY = 1_000_000


@dataclass(frozen=True, slots=True)
class Stray:
    """A file at a path where its content was not known to be."""

    path: str
    examined: Examined


@dataclass(frozen=True, slots=True)
class Home:
    """An item that a stray may belong to, as the database has it."""

    sha256: str
    item_id: int
    frame_id: int
    row: int
    path: str
    size: int
    mtime_ns: int
    rank: int


class Finder:
    """Finds the free items of one dataset for strays; one for each run."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.root = dataset.data_dir
        # How far the items of a content were looked at: the rank and path of the last one. Of contents with many.
        self._reached: dict[str, tuple[int, str]] = {}

    def find(self, strays: Sequence[Stray]) -> dict[str, Home]:
        """The free item of each stray that has one, by the stray's path."""
        waiting: dict[str, deque[Stray]] = defaultdict(deque)
        for stray in strays:
            waiting[stray.examined.sha256].append(stray)
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in=list(waiting))
        counted = frames.values_list("sha256").annotate(n=Count("pk"))
        few: list[str] = []
        many: list[str] = []
        for sha256, n in counted:
            (few if n <= _FEW else many).append(sha256)
        found: dict[str, Home] = {}
        for home in self._homes(few) if few else ():
            self._offer(home, waiting[home.sha256], found)
        for sha256 in many:
            for home in self._homes([sha256], self._reached.get(sha256)):
                if not waiting[sha256]:
                    break
                self._reached[sha256] = (home.rank, home.path)
                self._offer(home, waiting[sha256], found)
        return found

    def _offer(self, home: Home, strays: deque[Stray], found: dict[str, Home]) -> None:
        if strays and self._is_free(home, strays[0]):
            found[strays.popleft().path] = home

    def _homes(self, hashes: Sequence[str], after: tuple[int, str] | None = None) -> Iterator[Home]:
        """The items with these contents, those that somebody decided about first, then by path."""
        undecided = Case(
            When(item__state=State.UNLABELLED, then=Value(1)), default=Value(0), output_field=IntegerField()
        )
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in=hashes).annotate(rank=undecided)
        if after is not None:
            frames = frames.filter(Q(rank__gt=after[0]) | Q(rank=after[0], path__gt=after[1]))
        names = ("sha256", "item_id", "id", "item__row", "path", "size", "mtime_ns", "rank")
        for values in frames.order_by("rank", "path").values_list(*names).iterator(chunk_size=500):
            yield Home(*values)

    def _is_free(self, home: Home, stray: Stray) -> bool:
        """Whether an item's content is no longer at its path."""
        file = self.root / home.path
        try:
            status = file.stat()
            if status.st_size != home.size or _is_respelt(file, self.root / stray.path):
                return True
            if status.st_mtime_ns == home.mtime_ns:
                return False
            with regular_file(file) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() != home.sha256
        except (FileNotFoundError, NotADirectoryError, ImageProblem):
            return True
        except OSError:  # it may well be there
            return False


def _is_respelt(old: Path, new: Path) -> bool:
    """Whether only the case of a name changed, on a disk that finds the file under either (Windows, macOS)."""
    if old == new or str(old).casefold() != str(new).casefold() or not old.samefile(new):
        return False
    for folder, was, name in zip(_folders(new), old.parts, new.parts, strict=True):
        if was != name:
            return was not in {one.name for one in folder.iterdir()}
    return False


def _folders(path: Path) -> list[Path]:
    """The folder of each of a path's parts; for the first, which is a disk or the root, that itself."""
    return [Path(path.parts[0]), *reversed(path.parents)]


class Later:
    """Strays put aside until the whole folder was looked at; a million of them don't fill the memory."""

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
        """All of them, ``size`` at a time, in the order in which they came."""
        self._file.seek(0)
        strays = (msgspec.json.decode(line, type=Stray) for line in self._file)
        while batch := list(islice(strays, size)):
            yield batch


def move(dataset: Dataset, homes: dict[str, Home], examined: dict[str, Examined]) -> set[str]:
    """Give items the paths that their files have now; returns those of the paths that got one.

    An item that has such a path and whose own file is elsewhere, or gone, makes way. Call it with the dataset
    locked.
    """
    ids = [home.item_id for home in homes.values()]
    # Another run, thought dead, may have moved some meanwhile.
    still = set(Item.objects.filter(pk__in=ids).values_list("pk", "path"))
    homes = {path: home for path, home in homes.items() if (home.item_id, home.path) in still}
    if not homes:
        return set()
    _make_way(dataset, list(homes), keep={home.item_id for home in homes.values()})
    update_many(Item, ("path",), [(path, home.item_id) for path, home in homes.items()])
    frames = [(path, *values_of(examined[path]), home.frame_id) for path, home in homes.items()]
    update_many(Frame, ("path", *FILLED), frames)
    set_available(dataset, [home.item_id for home in homes.values()], True)
    return set(homes)


def _make_way(dataset: Dataset, paths: Sequence[str], *, keep: set[int]) -> None:
    """Items at these paths get one that no file has, and are missing until their own file turns up."""
    there = list(Item.objects.filter(dataset=dataset, path__in=paths))
    frames = list(Frame.objects.filter(item__in=there, path__in=paths))
    aside = {item.pk: f"{item.path[: MAX_PATH - 60]} (replaced, image {item.row})" for item in there}
    update_many(Item, ("path",), [(path, pk) for pk, path in aside.items()])
    update_many(Frame, ("path",), [(aside[frame.item_id], frame.pk) for frame in frames])
    set_available(dataset, [item.pk for item in there if item.pk not in keep], False)
