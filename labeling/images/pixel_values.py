"""Read the unstretched values of image files, for bands of color images and for the pixel value display."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labeling.images import dicom, fits, jpegxl, tiff
from labeling.images.high_bit_depth import is_deep, values_of
from labeling.images.open_image import (
    decoded,
    large_image_lock,
    open_header,
    page_for_pillow,
    samples_by_pillow,
    seek_frame,
)
from labeling.images.orientation import orientation, upright
from labeling.images.planes import combine
from labeling.images.problems import refuse_too_large
from labeling.images.rendering import DEFAULT, USUAL, Rendering
from labeling.images.source_file import as_image_problems, regular_file


def values_in(path: str | os.PathLike[str], rendering: Rendering = DEFAULT, *, most: int | None = None) -> NDArray[Any]:
    """Return one plane of values (h, w), with row 0 at the top of the picture and NaN for unknown pixels.

    Colors become their mean in deep images, and their luma in 8-bit images, whose values are those displayed.
    ``most``: largest allowed number of pixels. Raises ImageProblem.
    """
    with as_image_problems(), regular_file(path) as stream:
        if fits.is_fits(stream):
            values = _single_plane(fits.read_planes(stream, rendering).planes)
        elif dicom.is_dicom(stream):
            values = _picture(stream, rendering)
        elif jpegxl.is_jpegxl(stream):
            values = jpegxl.read(stream).plane
        elif tiff.is_tiff(stream):
            values = _tiff(stream, rendering)
        else:
            values = _raster(stream, rendering)
    if most is not None:
        refuse_too_large(values.shape[1], values.shape[0], most)
    return values


def _tiff(stream: BinaryIO, rendering: Rendering) -> NDArray[Any]:
    page = page_for_pillow(stream, rendering)
    if page is not None:
        return _raster(stream, rendering, page)
    about = tiff.describe(stream)
    refuse_too_large(*about.size)
    return upright(tiff.read(stream, rendering, partial(samples_by_pillow, stream)).plane, about.turn)


def _raster(stream: BinaryIO, rendering: Rendering, page: int = 0) -> NDArray[Any]:
    with seek_frame(open_header(stream), page) as source, large_image_lock(source):
        if not is_deep(source):
            return _picture(stream, rendering)

        def read(number: int) -> NDArray[Any]:
            source.seek(number)
            return _gray(values_of(source, lambda: seek_frame(open_header(stream), number)))

        n = 1 if page else getattr(source, "n_frames", 1)
        values = _single_plane(combine(n, (lambda number: read(number + page)), rendering.plane, kind="frame"))
        return upright(values, orientation(source))


def _picture(stream: BinaryIO, rendering: Rendering) -> NDArray[Any]:
    """Return the displayed gray values, 0 to 255, under the usual stretch."""
    stream.seek(0)
    plain = replace(rendering, stretch=USUAL, low=None, high=None, is_inverted=False)
    return np.asarray(decoded(stream, None, plain).image.convert("L"))


def _single_plane(planes: list[NDArray[Any]]) -> NDArray[Any]:
    return planes[0] if len(planes) == 1 else np.asarray(np.mean(planes, axis=0))


def _gray(values: NDArray[Any]) -> NDArray[Any]:
    """Return gray values (h, w), with NaN for transparent pixels. With 2 or 4 channels, the last one is alpha."""
    if values.ndim == 2:
        return values
    if values.shape[2] == 3:
        return np.asarray(values.mean(axis=2))
    return np.where(values[..., -1] > 0, values[..., :-1].mean(axis=2), np.nan)
