"""Find the file of a frame, and check that it may be read and has not changed since the ingest."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from labeling.images.problems import ImageProblem
from labeling.models import Frame


def inside(frame: Frame) -> Path:
    """Return the frame's file with all links resolved. Raises ImageProblem if it is outside its dataset's folder."""
    root = Path(os.path.realpath(frame.dataset.data_dir))
    with suppress(ValueError):  # a path that the system rejects
        file = Path(os.path.realpath(root / frame.path))
        if file.is_relative_to(root):
            return file
    raise ImageProblem("This file is outside of the dataset's folder, so it is not shown.")


def is_current(frame: Frame, file: Path) -> bool:
    """Return whether the file is unchanged since it was read last. Raises OSError if it is missing."""
    status = file.stat()
    return (status.st_size, status.st_mtime_ns) == (frame.size, frame.mtime_ns)
