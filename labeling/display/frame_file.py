"""The file of a frame: whether it may be read, and whether it is still the one that was ingested."""

from __future__ import annotations

import os
from pathlib import Path

from labeling.models import Frame


def inside(frame: Frame) -> Path | None:
    """The frame's file with every link followed, if it lies in its dataset's folder."""
    root = Path(os.path.realpath(frame.dataset.data_dir))
    try:
        file = Path(os.path.realpath(root / frame.path))
    except ValueError:  # a path that no system takes
        return None
    return file if file.is_relative_to(root) else None


def is_current(frame: Frame, file: Path) -> bool:
    """Whether the file is as it was when it was read last. Raises OSError when it is not there."""
    status = file.stat()
    return (status.st_size, status.st_mtime_ns) == (frame.size, frame.mtime_ns)
