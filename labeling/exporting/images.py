"""Add image files to an export: unreadable ones are listed in the manifest and do not stop it. Find their size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from django.db.models import Sum
from django.template.defaultfilters import filesizeformat

from labeling.exporting.rows import files_of
from labeling.exporting.zip_stream import Member
from labeling.models import Dataset, Frame, Item, State
from labeling.tables.report import Names

CHUNK = 1024 * 1024
# The limit of zipfile for 32-bit sizes is 2^31 - 1, with a margin for files that grow while they are read.
_HUGE = 2**31 - 2 * CHUNK


# Images are included by default if they total less than this many bytes.
LIMIT = 10**9
_AT_ONCE = 5000


class Images:
    """The image files of an export, and records of missing files and files changed since they were ingested."""

    def __init__(self, dataset: Dataset) -> None:
        self._root = dataset.data_dir
        self._resolved_root = self._root.resolve()
        self.written = 0
        self._missing = Names()
        self._changed = Names()

    def members(self, batches: Iterable[Sequence[int]]) -> Iterator[Member]:
        """Yield one member ``images/<path>`` per frame, for batches of at most 900 item IDs."""
        for ids in batches:
            files = files_of(ids)
            for item_id in ids:
                for _, path, sha256 in files.get(item_id, ()):
                    yield from self.member(f"images/{path}", path, sha256)

    def member(self, name: str, path: str, sha256: str) -> Iterator[Member]:
        """Yield a member with the file ``path`` of the dataset; none if the file is missing."""
        try:
            stream = self._file(path).open("rb")
        except OSError:
            self._missing.add(path)
            return
        with stream:
            is_huge = os.fstat(stream.fileno()).st_size >= _HUGE
            chunks = self._chunks(stream, path, sha256)
            yield Member(name, chunks, is_huge, is_listed=False, source=Path(stream.name))
        self.written += 1

    def content(self, path: str, sha256: str) -> bytes | None:
        """Return the bytes of the file ``path`` of the dataset; None if the file is missing."""
        try:
            with self._file(path).open("rb") as stream:
                content = b"".join(self._chunks(stream, path, sha256))
        except OSError:
            self._missing.add(path)
            return None
        self.written += 1
        return content

    def _file(self, path: str) -> Path:
        """Return the file with links resolved. Raises FileNotFoundError if it is outside the dataset's root."""
        file = self._root.joinpath(*PurePosixPath(path).parts).resolve(strict=True)
        if not file.is_relative_to(self._resolved_root):
            raise FileNotFoundError(path)
        return file

    def _chunks(self, stream: BinaryIO, path: str, sha256: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != sha256:
            self._changed.add(path)

    def as_manifest(self) -> dict[str, Any]:
        """Return the number of files written, and the missing files and those changed since they were ingested."""
        return {
            "files": self.written,
            "missing": {"count": self._missing.lines, "paths": list(self._missing.names)},
            "changed_since_ingest": {"count": self._changed.lines, "paths": list(self._changed.names)},
        }


# -- Their size --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ImagesSize:
    """The size of the labeled items' files in bytes. ``is_total`` is false if counting stopped at ``LIMIT``."""

    bytes: int
    is_total: bool

    @property
    def is_included(self) -> bool:
        """Return whether an export includes the images by default."""
        return self.is_total

    @property
    def text(self) -> str:
        return f"{filesizeformat(self.bytes)} in total" if self.is_total else "1 GB or more in total"


def images_size(dataset: Dataset) -> ImagesSize:
    """Sum the sizes recorded by the last ingest, up to ``LIMIT``. Runs two queries per some thousand items."""
    total, last = 0, -1
    labeled = Item.objects.of(dataset).filter(state=State.LABELLED).order_by("row")
    while rows := list(labeled.filter(row__gt=last).values_list("row", flat=True)[:_AT_ONCE]):
        frames = Frame.objects.filter(
            item__dataset=dataset, item__state=State.LABELLED, item__row__gt=last, item__row__lte=rows[-1]
        )
        total += frames.aggregate(total=Sum("size"))["total"] or 0
        if total >= LIMIT:
            return ImagesSize(total, is_total=False)
        last = rows[-1]
    return ImagesSize(total, is_total=True)
