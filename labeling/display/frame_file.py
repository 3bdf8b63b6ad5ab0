"""Find the file of a frame, and check that it may be read and has not changed since the ingest."""

from __future__ import annotations

import os
from pathlib import Path

from labeling.models import Frame


def inside(frame: Frame) -> Path | None:
    """Return the frame's file with all links resolved, or None if it lies outside its dataset's folder."""
    root = Path(os.path.realpath(frame.dataset.data_dir))
    try:
        file = Path(os.path.realpath(root / frame.path))
    except ValueError:  # a path that no system takes
        return None
    return file if file.is_relative_to(root) else None


def is_current(frame: Frame, file: Path) -> bool:
    """Return whether the file is unchanged since it was read last. Raises OSError if it is missing."""
    status = file.stat()
    return (status.st_size, status.st_mtime_ns) == (frame.size, frame.mtime_ns)
