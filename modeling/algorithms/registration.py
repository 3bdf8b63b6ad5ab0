"""Compute how much pairs of signatures differ after alignment, which undoes small crops, shifts and rotations.

Each pair is aligned by an affine transform with Gauss-Newton steps: Bruce Lucas and Takeo Kanade, *An iterative image
registration technique with an application to stereo vision*, IJCAI (1981), in the inverse form of Simon Baker and Iain
Matthews, *Lucas-Kanade 20 years on*, IJCV 56 (2004).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from modeling.algorithms.perceptual_hash import SIDE, Pixels

Floats = NDArray[np.float32]
STEPS = 5
_PAIRS = 512
# Added to the diagonal of the normal equations, so that a picture without edges does not move.
_RIDGE = 1e-3
# The pixels at the edges that a crop of 8 % may remove.
_MARGIN = 3
# Standard deviations of gray values below this say nothing: the picture is blank.
_BLANK = 2.0
# Pictures that differ by more than this before alignment are not aligned.
_UNRELATED = 0.5

# The largest shift of the middle and of the edges by each parameter, in pixels: what a crop of 8 % and a rotation by
# 2° need. More would turn pictures into others of their kind, such as any ellipse into any other.
_LIMITS = np.array([2.6, 1.4, 0.7, 2.6, 0.7, 1.4], dtype=np.float32)

_y, _x = (grid.ravel().astype(np.float32) for grid in np.mgrid[:SIDE, :SIDE])
# Coordinates from -1 to 1.
_HALF = (SIDE - 1) / 2
_u, _v = _x / _HALF - 1, _y / _HALF - 1
_inner = np.zeros((SIDE, SIDE), dtype=np.bool_)
# Every second pixel is enough, because the pictures are smoothed.
_inner[_MARGIN:-_MARGIN:2, _MARGIN:-_MARGIN:2] = True
_inside = np.flatnonzero(_inner)


def differences(signatures: Pixels, pairs: NDArray[np.int64], limit: float = 1.0) -> Floats:
    """Return how much the pictures of each pair (m, 2) differ after alignment, float32 (m,).

    0 for equal pictures up to brightness, contrast and an affine transform; 1 for unrelated ones: it is 1 minus the
    correlation of the gray values, 3 pixels from the edges on. The larger one of both directions. 1 for blank pictures,
    and for pictures that differ too much before alignment. ``signatures`` (n, 32, 32) may be memory-mapped. A result
    above ``limit`` may be of one direction only, which saves time.
    """
    result = np.ones(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        first, second = (_prepared(signatures[some[:, column]]) for column in (0, 1))
        places = np.flatnonzero(_unaligned(first, second) < _UNRELATED)
        found = _aligned(first[places], second[places])
        again = np.flatnonzero(found <= limit)
        found[again] = np.maximum(found[again], _aligned(second[places[again]], first[places[again]]))
        result[start + places] = found
    return result


def is_blank(signatures: Pixels) -> NDArray[np.bool_]:
    """Return which pictures (n, 32, 32) have too little content to be compared, bool (n,)."""
    blank = np.empty(len(signatures), dtype=np.bool_)
    for start in range(0, len(signatures), _PAIRS):
        pixels = _prepared(signatures[start : start + _PAIRS])
        blank[start : start + _PAIRS] = ~_normalized(pixels.reshape(len(pixels), SIDE**2)[:, _inside])[1]
    return blank


def _unaligned(first: Floats, second: Floats) -> Floats:
    """Return 1 minus the correlation of pictures as they are, (n,)."""
    left, right = (_normalized(pixels.reshape(len(pixels), SIDE**2)[:, _inside])[0] for pixels in (first, second))
    difference: Floats = 1 - (left * right).sum(axis=1)
    return difference


def _prepared(signatures: Pixels) -> Floats:
    smooth: Floats = gaussian_filter(signatures.astype(np.float32), sigma=(0, 1, 1), mode="nearest")
    return smooth


def _normalized(pixels: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return gray values with mean 0 and length 1, and which pictures are not blank."""
    centered = pixels - pixels.mean(axis=1, keepdims=True)
    length = np.sqrt((centered**2).sum(axis=1, keepdims=True))
    has_content = length[:, 0] > _BLANK * np.sqrt(pixels.shape[1])
    return centered / np.maximum(length, 1e-6), has_content


def _aligned(templates: Floats, pictures: Floats) -> Floats:
    """Return 1 minus the correlation of each template with its picture, which is moved; 1 if either is blank."""
    n = len(templates)
    target, has_target = _normalized(templates.reshape(n, SIDE**2)[:, _inside])
    gradient_y, gradient_x = (part.reshape(n, SIDE**2)[:, _inside] for part in np.gradient(templates, axis=(1, 2)))
    u, v = _u[_inside], _v[_inside]
    # The change of the gray values with the six parameters, then with contrast and brightness.
    jacobian = np.stack(
        [gradient_x, gradient_x * u, gradient_x * v, gradient_y, gradient_y * u, gradient_y * v], axis=2
    )
    inner = templates.reshape(n, SIDE**2)[:, _inside]
    scale = np.linalg.norm(inner - inner.mean(axis=1, keepdims=True), axis=1)
    jacobian = jacobian / np.maximum(scale, 1e-6)[:, None, None]
    jacobian -= jacobian.mean(axis=1, keepdims=True)
    jacobian -= target[:, :, None] * (target[:, None, :] @ jacobian)
    transposed = jacobian.transpose(0, 2, 1)
    hessian = transposed @ jacobian + _RIDGE * np.eye(6, dtype=np.float32)
    inverse = np.linalg.inv(hessian)
    warps = np.zeros((n, 6), dtype=np.float32)
    best = np.ones(n, dtype=np.float32)
    has_picture = np.zeros(n, dtype=np.bool_)
    for step in range(STEPS + 1):
        moved, has_content = _normalized(_warped(pictures, warps, u, v))
        best = np.minimum(best, 1 - (moved * target).sum(axis=1))
        has_picture = has_content if step == 0 else has_picture
        change = inverse @ (transposed @ (target - moved)[:, :, None])
        warps = np.clip(warps + change[:, :, 0], -_LIMITS, _LIMITS)
    return np.where(has_target & has_picture, np.maximum(best, 0), np.float32(1))


def _warped(pictures: Floats, warps: Floats, u: Floats, v: Floats) -> Floats:
    """Return the gray values of each picture at its moved pixels, by bilinear interpolation, (n, pixels)."""
    x = _x[_inside] + warps[:, :1] + warps[:, 1:2] * u + warps[:, 2:3] * v
    y = _y[_inside] + warps[:, 3:4] + warps[:, 4:5] * u + warps[:, 5:6] * v
    x, y = np.clip(x, 0, SIDE - 1.001), np.clip(y, 0, SIDE - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, bottom = x - left, y - top
    flat = pictures.reshape(len(pictures), SIDE**2)
    place = top * SIDE + left + (np.arange(len(pictures), dtype=np.int32) * SIDE**2)[:, None]
    values = flat.ravel()
    above = values[place] * (1 - right) + values[place + 1] * right
    below = values[place + SIDE] * (1 - right) + values[place + SIDE + 1] * right
    result: Floats = above * (1 - bottom) + below * bottom
    return result
