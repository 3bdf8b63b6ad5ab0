"""Write frames.csv, which lists the files of items with several frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from labeling.exporting.canonical_text import csv_line
from labeling.exporting.rows import files_of
from labeling.models import Dataset

COLUMNS = ("item_id", "role", "path", "sha256")


def frame_lines(dataset: Dataset, batches: Iterable[Sequence[int]]) -> Iterator[bytes]:
    """Yield the lines of frames.csv for batches of item IDs, with the frames in the order of the roles."""
    place = {role: number for number, role in enumerate(dataset.roles)}
    yield csv_line(COLUMNS).encode()
    for ids in batches:
        files = files_of(ids)
        for item_id in ids:
            frames = sorted(files.get(item_id, ()), key=lambda frame: place.get(frame[0], len(place)))
            yield "".join(csv_line((item_id, *frame)) for frame in frames).encode()
