"""FITS, the format of astronomers: the first image of the file under a zscale stretch.

Zscale is IRAF's, as astropy implements it (``astropy.visualization.ZScaleInterval``). Astropy is imported
when the first FITS file is opened: it takes long, and most people have none.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import ImageProblem, refuse_too_large
from labeling.images.stretching import between

EXTENSIONS = (".fits", ".fit", ".fts")
_MAGIC = b"SIMPLE  ="

# Silencing warnings is not safe in two threads at once.
_one_at_a_time = threading.Lock()


def is_fits(stream: BinaryIO) -> bool:
    """Whether the file begins as FITS does; the position is left at the start."""
    start = stream.read(len(_MAGIC))
    stream.seek(0)
    return start == _MAGIC


def read_plane(stream: BinaryIO) -> NDArray[np.float32]:
    """The first image of two or more dimensions, (h, w), in its own values.

    Of a cube, the first plane. Row 0 is the top of the picture: FITS counts rows from the bottom, so it is
    flipped. Unknown pixels are not-a-number. Raises ImageProblem for a file without an image, a truncated
    or a too large one.
    """
    from astropy.io import fits

    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that break a rule and can be read all the same
        with fits.open(stream, mode="readonly", memmap=False, lazy_load_hdus=True) as parts:
            for part in parts:
                if part.is_image and len(part.shape) >= 2:
                    _refuse_truncated(part, stream)
                    return _first_plane(part)
    raise ImageProblem("The FITS file holds no image (no extension of two or more dimensions).")


def read_stretched(stream: BinaryIO) -> NDArray[np.uint8]:
    """The picture of :func:`read_plane` stretched by zscale to (h, w) bytes; unknown pixels are black."""
    from astropy.visualization import ZScaleInterval

    plane = read_plane(stream)
    known = plane[np.isfinite(plane)]
    if not known.size:
        raise ImageProblem("The FITS image holds no finite value at all.")
    low, high = ZScaleInterval().get_limits(known)
    return between(plane, float(low), float(high))


def _first_plane(part: Any) -> NDArray[np.float32]:
    height, width = part.shape[-2:]
    refuse_too_large(width, height)
    if not height or not width:
        raise ImageProblem("The FITS image has no pixels.")
    plane = part.section[(0,) * (len(part.shape) - 2)] if len(part.shape) > 2 else part.section[:, :]
    return np.ascontiguousarray(np.flipud(np.asarray(plane)), dtype=np.float32)


def _refuse_truncated(part: Any, stream: BinaryIO) -> None:
    """Astropy only warns of a short file, and then fails with words about buffers."""
    if hasattr(part, "compression_type"):
        return  # its size is that of the unpacked image
    position = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(position)
    begins = part.fileinfo()["datLoc"]
    if begins + part.size > end:
        raise ImageProblem(
            f"The file is truncated: its image needs {begins + part.size:,} bytes and the file has {end:,}."
        )
