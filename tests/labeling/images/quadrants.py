"""Provide a test picture of 96 by 64 pixels with four quadrants, in colors or in increasing grays."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeling.images.file_check import examine
from labeling.images.open_image import ImageProblem, open_image
from labeling.images.rendering import Rendering

SHAPE = HEIGHT, WIDTH = 64, 96
COLORS = np.array([[220, 40, 40], [40, 180, 60], [40, 60, 220], [230, 220, 60]])


def quadrants(values: Any) -> np.ndarray:
    """Return an array (64, 96, ...) of the values of the four quadrants: top left and right, bottom left and right."""
    values = np.asarray(values)
    number = (np.arange(HEIGHT)[:, None] >= HEIGHT // 2) * 2 + (np.arange(WIDTH)[None] >= WIDTH // 2)
    return values[number]


def corners(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels at the centers of the four quadrants."""
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return np.array([pixels[y, x] for y in rows for x in columns]).astype(int)


def opened(file: Path, **choices: Any) -> np.ndarray:
    return np.asarray(open_image(file, rendering=Rendering(**choices)))


def assert_refused(
    file: Path, message: str, *, by: Iterable[Callable[..., object]] = (examine, open_image), **options: Any
) -> None:
    """Assert that whatever reads the file says why it does not."""
    for read in by:
        with pytest.raises(ImageProblem, match=message):
            read(file, **options)


def assert_rising(file: Path, **choices: Any) -> None:
    """Assert that the grays go from black to white, about as far apart as the values."""
    pixels = opened(file, **choices)
    assert (pixels[..., :1] == pixels).all()
    seen = corners(pixels)[:, 0]
    assert (seen[0], seen[3]) == (0, 255), seen
    assert np.diff(seen).min() > 40, seen


def assert_colors(file: Path, tolerance: int = 1, **choices: Any) -> None:
    seen = corners(opened(file, **choices))
    assert abs(seen - COLORS).max() <= tolerance, seen
