"""Match moved and renamed files to their items by content, so that row, labels and vectors are kept.

A *free* item is one whose file is missing or now has other content. A *stray* is a file with content that was not
recorded at its path. Strays are assigned to free items of the same content one to one: first to items with a decision,
then in the order of paths.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db.models import Case, Count, IntegerField, Q, Value, When

from labeling.images.problems import ImageProblem
from labeling.images.source_file import regular_file
from labeling.ingest.moves import Member
from labeling.models import Dataset, Frame, State

# For contents with more items than this, the search continues where the last one stopped. A folder may contain
# 100,000 black images, and checking all of them for every batch of strays would take forever.
_FEW = 50


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

    def find(self, strays: Sequence[Member]) -> dict[str, FreeItem]:
        """Return the free items of strays by the strays' paths, without strays that have none."""
        waiting: dict[str, deque[Member]] = defaultdict(deque)
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

    def _offer(self, free_item: FreeItem, strays: deque[Member], matches: dict[str, FreeItem]) -> None:
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

    def _is_free(self, free_item: FreeItem, stray: Member) -> bool:
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
    # The folder that contains each part; for the first part, a drive or the root, the part itself.
    folders = [Path(new.parts[0]), *reversed(new.parents)]
    for folder, was, name in zip(folders, old.parts, new.parts, strict=True):
        if was != name:
            return was not in {entry.name for entry in folder.iterdir()}
    return False
