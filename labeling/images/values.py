"""What an image file holds in its own values, before any stretch: bands of a colour image, a value to be read off."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images import dicom, fits, tiff
from labeling.images.deep import is_deep, values_of
from labeling.images.opening import (
    UPRIGHT,
    at_frame,
    decoded,
    identified,
    in_plain_words,
    is_beyond_pillow,
    one_at_a_time_if_large,
    orientation,
    regular_file,
)
from labeling.images.planes import combined
from labeling.images.problems import refuse_too_large
from labeling.images.rendering import DEFAULT, USUAL, Rendering


def values_in(path: str | os.PathLike[str], rendering: Rendering = DEFAULT, *, most: int | None = None) -> NDArray[Any]:
    """One plane of values (h, w), row 0 at the top of the picture; unknown pixels are not-a-number.

    Of colours it is the mean for deep images and the luma for those of 8 bits, whose values are what a screen shows.
    ``most``: how many pixels are taken at most. Raises ImageProblem.
    """
    with in_plain_words(), regular_file(path) as stream:
        if fits.is_fits(stream):
            values = _one(fits.read_planes(stream, rendering))
        elif dicom.is_dicom(stream):
            values = _picture(stream, rendering)
        elif tiff.is_tiff(stream) and is_beyond_pillow(stream):
            refuse_too_large(*tiff.size_of(stream))
            values = _upright(_grey(tiff.read_whole(stream, rendering)), tiff.turn_of(stream))
        else:
            values = _raster(stream, rendering)
    if most is not None:
        refuse_too_large(values.shape[1], values.shape[0], most)
    return values


def _raster(stream: BinaryIO, rendering: Rendering) -> NDArray[Any]:
    with identified(stream) as source, one_at_a_time_if_large(source):
        if not is_deep(source):
            return _picture(stream, rendering)

        def read(number: int) -> NDArray[Any]:
            source.seek(number)
            return _grey(values_of(source, lambda: at_frame(identified(stream), number)))

        values = _one(combined(getattr(source, "n_frames", 1), read, rendering.plane, kind="frame"))
        return _upright(values, orientation(source))


def _picture(stream: BinaryIO, rendering: Rendering) -> NDArray[Any]:
    """What a screen shows, 0 to 255, under the usual stretch."""
    stream.seek(0)
    plain = replace(rendering, stretch=USUAL, low=None, high=None, is_inverted=False)
    return np.asarray(decoded(stream, None, plain)[1].convert("L"))


def _one(planes: list[NDArray[Any]]) -> NDArray[Any]:
    return planes[0] if len(planes) == 1 else np.asarray(np.mean(planes, axis=0))


def _grey(values: NDArray[Any]) -> NDArray[Any]:
    """(h, w) of values that may have channels, alpha last if there are 2 or 4: what is transparent is unknown."""
    if values.ndim == 2:
        return values
    if values.shape[2] == 3:
        return np.asarray(values.mean(axis=2))
    return np.where(values[..., -1] > 0, values[..., :-1].mean(axis=2), np.nan)


def _upright(values: NDArray[Any], turn: int) -> NDArray[Any]:
    if turn not in UPRIGHT:
        return values
    return np.asarray(Image.fromarray(values.astype(np.float32)).transpose(UPRIGHT[turn]))
