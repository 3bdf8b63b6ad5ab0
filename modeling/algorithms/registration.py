"""Compute how much pairs of signatures differ after alignment, which undoes small crops, shifts and rotations.

Each pair is aligned by an affine transform with Gauss-Newton steps: Bruce Lucas and Takeo Kanade, *An iterative image
registration technique with an application to stereo vision*, IJCAI (1981), in the inverse form of Simon Baker and Iain
Matthews, *Lucas-Kanade 20 years on*, IJCV 56 (2004).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from modeling.algorithms.perceptual_hash import SIDE, Pixels

Floats = NDArray[np.float32]
Outlines = NDArray[np.float16]
STEPS = 5
_PAIRS = 512
# Added to the diagonal of the normal equations, so that a picture without edges does not move.
_RIDGE = 1e-3
# The pixels at the edges that a crop of 8 % may remove.
_MARGIN = 3
# Standard deviations of gray values below this say nothing: the picture is blank.
_BLANK = 2.0
# Pictures that differ by more than this before alignment are not aligned.
UNRELATED = 0.5
# With a limit, pictures are given up if their difference after a step is more than this many times the limit. Copies
# come below these factors at every step.
_PROMISING = (25, 15, 8, 4, 2)

# The largest shift of the middle and of the edges by each parameter, in pixels: what a crop of 8 % and a rotation by
# 2° need. More would turn pictures into others of their kind, such as any ellipse into any other.
_LIMITS = np.array([2.6, 1.4, 0.7, 2.6, 0.7, 1.4], dtype=np.float32)

# The pixels that are compared. Every second one is enough, because the pictures are smoothed.
_inner = np.zeros((SIDE, SIDE), dtype=np.bool_)
_inner[_MARGIN:-_MARGIN:2, _MARGIN:-_MARGIN:2] = True
_inside = np.flatnonzero(_inner)
_y, _x = (grid.ravel()[_inside].astype(np.float32) for grid in np.mgrid[:SIDE, :SIDE])
# Coordinates from -1 to 1.
_HALF = (SIDE - 1) / 2
_u, _v = _x / _HALF - 1, _y / _HALF - 1
_smoothing = gaussian_filter1d(np.eye(SIDE, dtype=np.float32), sigma=1, axis=0, mode="nearest")


def differences(signatures: Pixels, pairs: NDArray[np.int64], limit: float = 1.0) -> Floats:
    """Return how much the pictures of each pair (m, 2) differ after alignment, float32 (m,).

    0 for equal pictures up to brightness, contrast and an affine transform; 1 for unrelated ones: it is 1 minus the
    correlation of the gray values, 3 pixels from the edges on. The larger one of both directions. 1 for blank pictures,
    and for pictures that differ too much before alignment. ``signatures`` (n, 32, 32) may be memory-mapped. A result
    above ``limit`` may be of one direction only, or of an alignment that was given up, which saves time.
    """
    result = np.ones(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        first, second = (_prepared(signatures[some[:, column]]) for column in (0, 1))
        left, right = (_normalized(_inner_pixels(pixels))[0] for pixels in (first, second))
        places = np.flatnonzero(1 - (left * right).sum(axis=1) < UNRELATED)
        found = _aligned(first[places], second[places], limit)
        again = np.flatnonzero(found <= limit)
        found[again] = np.maximum(found[again], _aligned(second[places[again]], first[places[again]], limit))
        result[start + places] = found
    return result


def is_blank(signatures: Pixels) -> NDArray[np.bool_]:
    """Return which pictures (n, 32, 32) have too little content to be compared, bool (n,)."""
    blank = np.empty(len(signatures), dtype=np.bool_)
    for start in range(0, len(signatures), _PAIRS):
        pixels = _prepared(signatures[start : start + _PAIRS])
        blank[start : start + _PAIRS] = ~_normalized(_inner_pixels(pixels))[1]
    return blank


def outlines(signatures: Pixels) -> Outlines:
    """Return smoothed gray values with mean 0 and length 1, float16 (n, pixels): to compare before alignment."""
    result = np.empty((len(signatures), len(_inside)), dtype=np.float16)
    for start in range(0, len(signatures), _PAIRS):
        pixels = _prepared(signatures[start : start + _PAIRS])
        result[start : start + _PAIRS] = _normalized(_inner_pixels(pixels))[0]
    return result


def _prepared(signatures: Pixels) -> Floats:
    """Smooth pictures (n, 32, 32) with a Gaussian of 1 pixel, by matrix products: ten times faster than filters."""
    n = len(signatures)
    columns = (signatures.astype(np.float32).reshape(n * SIDE, SIDE) @ _smoothing.T).reshape(n, SIDE, SIDE)
    turned = np.ascontiguousarray(columns.transpose(0, 2, 1)).reshape(n * SIDE, SIDE)
    smooth: Floats = (turned @ _smoothing.T).reshape(n, SIDE, SIDE).transpose(0, 2, 1)
    return np.ascontiguousarray(smooth)


def _inner_pixels(pictures: Floats) -> Floats:
    """Return the pixels of pictures (n, 32, 32) that are compared, (n, pixels)."""
    inner: Floats = pictures.reshape(len(pictures), SIDE**2)[:, _inside]
    return inner


def _normalized(pixels: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return gray values with mean 0 and length 1, and which pictures are not blank."""
    centered = pixels - pixels.mean(axis=1, keepdims=True)
    length = np.sqrt((centered**2).sum(axis=1, keepdims=True))
    has_content = length[:, 0] > _BLANK * np.sqrt(pixels.shape[1])
    return centered / np.maximum(length, 1e-6), has_content


def _aligned(templates: Floats, pictures: Floats, limit: float) -> Floats:
    """Return 1 minus the correlation of each template with its picture, which is moved; 1 if either is blank."""
    target, has_target = _normalized(_inner_pixels(templates))
    flat = pictures.reshape(len(pictures), SIDE**2)
    best = np.ones(len(templates), dtype=np.float32)
    has_content = has_target & _normalized(flat[:, _inside])[1]
    rows = np.flatnonzero(has_content)
    if not len(rows):
        return best
    transposed, inverse = _normal_equations(templates[rows], target[rows])
    flat, target = flat[rows], target[rows]
    warps = np.zeros((len(rows), 6), dtype=np.float32)
    for step in range(STEPS + 1):
        moved = _normalized(_warped(flat, warps))[0]
        best[rows] = np.minimum(best[rows], 1 - (moved * target).sum(axis=1))
        if step == STEPS:
            break
        promising = best[rows] <= limit * _PROMISING[step]
        if np.count_nonzero(promising) < 0.8 * len(rows):
            rows, warps = rows[promising], warps[promising]
            flat, target, moved = flat[promising], target[promising], moved[promising]
            transposed, inverse = transposed[promising], inverse[promising]
        change = inverse @ (transposed @ (target - moved)[:, :, None])
        warps = np.clip(warps + change[:, :, 0], -_LIMITS, _LIMITS)
    return np.maximum(best, 0)


def _normal_equations(templates: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return the changes of the gray values with the six parameters (n, 6, pixels), and the inverse of their squares.

    What brightness and contrast explain is left out.
    """
    gradient_y, gradient_x = (_inner_pixels(np.asarray(np.gradient(templates, axis=axis))) for axis in (1, 2))
    jacobian = np.stack(
        [gradient_x, gradient_x * _u, gradient_x * _v, gradient_y, gradient_y * _u, gradient_y * _v], axis=1
    )
    inner = _inner_pixels(templates)
    scale = np.linalg.norm(inner - inner.mean(axis=1, keepdims=True), axis=1)
    jacobian /= np.maximum(scale, 1e-6)[:, None, None]
    jacobian -= jacobian.mean(axis=2, keepdims=True)
    jacobian -= (jacobian @ target[:, :, None]) * target[:, None, :]
    hessian = jacobian @ jacobian.transpose(0, 2, 1) + _RIDGE * np.eye(6, dtype=np.float32)
    inverse: Floats = np.linalg.inv(hessian)
    return jacobian, inverse


def _warped(flat: Floats, warps: Floats) -> Floats:
    """Return the gray values of each picture (n, 1024) at its moved pixels, by bilinear interpolation, (n, pixels)."""
    x = _x + warps[:, :1] + warps[:, 1:2] * _u + warps[:, 2:3] * _v
    y = _y + warps[:, 3:4] + warps[:, 4:5] * _u + warps[:, 5:6] * _v
    x, y = np.clip(x, 0, SIDE - 1.001), np.clip(y, 0, SIDE - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, bottom = x - left, y - top
    place = top * SIDE + left + (np.arange(len(flat), dtype=np.int32) * SIDE**2)[:, None]
    values = flat.ravel()
    above = values[place] * (1 - right) + values[place + 1] * right
    below = values[place + SIDE] * (1 - right) + values[place + SIDE + 1] * right
    result: Floats = above * (1 - bottom) + below * bottom
    return result
