"""Items of several frames in an export: which files they are, and that no file gets into two splits."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from labeling.exporting.rows import files_of
from labeling.exporting.text import csv_line
from labeling.models import Dataset
from labeling.splits import split_key

COLUMNS = ("item_id", "role", "path", "sha256")


def frame_lines(dataset: Dataset, batches: Iterable[Sequence[int]]) -> Iterator[bytes]:
    """The lines of frames.csv for items whose ids come in batches, their frames in the order of the roles."""
    place = {role: number for number, role in enumerate(dataset.roles)}
    yield csv_line(COLUMNS).encode()
    for ids in batches:
        files = files_of(ids)
        for item_id in ids:
            frames = sorted(files.get(item_id, ()), key=lambda frame: place.get(frame[0], len(place)))
            yield "".join(csv_line((item_id, *frame)) for frame in frames).encode()


class Files:
    """The files of items, as keys for the splits: 8 bytes a file and 4 an item."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._keys, self._counts = array("Q"), array("I")

    def add(self, hashes: Sequence[str]) -> None:
        """The files of the next item; one at least."""
        self._keys.extend(split_key(sha256, self._seed) for sha256 in hashes)
        self._counts.append(len(hashes))

    def keys(self) -> list[NDArray[np.uint64]]:
        """Columns (n,) for :func:`labeling.splits.joined`: each item's first file, its second, …; where it has no more,
        the first again."""
        keys, counts = np.asarray(self._keys, dtype=np.uint64), np.asarray(self._counts, dtype=np.int64)
        if not len(counts):
            return [keys]
        firsts = np.cumsum(counts) - counts
        return [keys[firsts + np.where(counts > number, number, 0)] for number in range(counts.max())]
