"""Read the strips and tiles that a truncated TIFF file still contains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import TRUNCATED, ImageProblem


def available_samples(page: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return samples (h, w, n), 0 if missing, and the missing mask (h, w). Raises ImageProblem if all are missing."""
    shape = page.imagelength, page.imagewidth, page.samplesperpixel
    samples = np.zeros(shape, page.dtype)
    n_there = np.zeros(shape[:2], np.uint16)
    for index in range(len(page.dataoffsets)):
        content, n_rows = _piece(page, index)
        if not n_rows:
            continue
        try:
            decoded, place, _ = page.decode(content, index, jpegtables=page.jpegtables)
        except Exception:  # noqa: BLE001, S112 - part of a piece raises anything, and counts as missing
            continue
        if decoded is None:
            continue
        y, x = place[2], place[3]
        pixels = decoded[0][: min(n_rows, shape[0] - y), : shape[1] - x]
        first = place[0] if page.planarconfig == 2 else 0
        at = slice(y, y + pixels.shape[0]), slice(x, x + pixels.shape[1])
        samples[(*at, slice(first, first + pixels.shape[2]))] = pixels
        n_there[at] += 1
    missing = n_there < (shape[2] if page.planarconfig == 2 else 1)
    if missing.all():
        raise ImageProblem(TRUNCATED)
    return samples, np.asarray(missing)


def _piece(page: Any, index: int) -> tuple[bytes, int]:
    """Return the bytes of a strip or tile, and the number of complete rows in them: all or none if compressed."""
    offset, n_bytes = page.dataoffsets[index], page.databytecounts[index]
    handle = page.parent.filehandle
    handle.seek(offset)
    content = handle.read(n_bytes)
    n_rows = page.chunks[0]
    if len(content) == n_bytes:
        return content, n_rows
    if page.compression != 1 or page.is_tiled:
        return b"", 0
    whole = len(content) * n_rows // n_bytes
    return content.ljust(n_bytes, b"\x00"), whole
