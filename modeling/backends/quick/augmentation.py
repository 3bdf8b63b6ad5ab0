"""Check which weights a quick training can start from, and augment its images.

Imports no TensorFlow, so that a page can show the augmented images of a training.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labeling.images.encoder_inputs import Pixels, squash
from modeling.backends import weights
from modeling.backends.encoder import EncoderUnavailable, one_line
from modeling.backends.keras_networks import NETWORKS, is_installed
from modeling.quick.options import BACKBONES, QuickOptions

# Maximum rotation, zoom factor and change of brightness.
MAX_ROTATION_DEGREES = 20.0
ZOOM = 1.25
BRIGHTNESS = 0.25

_ASK_AGAIN_SECONDS = 60.0
_FILES = {network.backend: network.weights for network in NETWORKS}


# -- Weights -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class WeightsStatus:
    """Whether a backbone's ImageNet weights are on this machine or can be downloaded, with a message that says so."""

    is_here: bool
    is_available: bool
    message: str


def weights_status(backbone: str, weights_dir: Path | None) -> WeightsStatus:
    """Check in advance which weights a training of ``backbone`` would start from.

    If there is no local file, checks whether its URL responds: takes seconds at most, and at most once a minute.
    """
    weight_file = _FILES[backbone]
    if not is_installed():
        return WeightsStatus(False, False, "TensorFlow is not installed. Quick training needs it.")
    try:
        _, origin = weights.locate(weight_file, weights_dir, download=False)
    except EncoderUnavailable as missing:
        problem = _why_unreachable(weight_file.url)
        if not problem:
            message = f"ImageNet weights of {weight_file.title} will be downloaded when the training starts."
            return WeightsStatus(False, True, message)
        message = f"{missing.reason}, and their URL does not respond ({problem}). {missing.hint}"
        return WeightsStatus(False, False, f"{message} {_other_ways(backbone, weights_dir)}")
    return WeightsStatus(True, True, f"ImageNet weights of {weight_file.title} {origin}.")


def origin_of(backbone: str, weights_dir: Path | None) -> str:
    """Return where a backbone's ImageNet weights are on this machine, or "" if they are not. Uses no network."""
    try:
        return weights.locate(_FILES[backbone], weights_dir, download=False)[1]
    except EncoderUnavailable:
        return ""


def imagenet_weights(backbone: str, weights_dir: Path | None) -> Path:
    """Return the weight file of a backbone, downloaded if needed. Raises ``EncoderUnavailable`` with alternatives."""
    try:
        return weights.locate(_FILES[backbone], weights_dir)[0]
    except EncoderUnavailable as missing:
        raise EncoderUnavailable(missing.message, f"{missing.hint} {_other_ways(backbone, weights_dir)}") from missing


def _other_ways(backbone: str, weights_dir: Path | None) -> str:
    """Return the alternatives to weights that are unavailable."""
    others = [name for name in BACKBONES if name != backbone and origin_of(name, weights_dir)]
    titles = " or ".join(BACKBONES[name].title for name in others)
    instead = f"{titles}, whose weights are here, or " if titles else ""
    return f"Choose {instead}a randomly initialized network."


_reachability: dict[str, tuple[float, str]] = {}


def _why_unreachable(url: str) -> str:
    """Return why a URL does not respond, or "" if it does."""
    asked_at, problem = _reachability.get(url, (float("-inf"), ""))
    if time.monotonic() - asked_at < _ASK_AGAIN_SECONDS:
        return problem
    try:
        weights.connect(url).close()
        problem = ""
    except (OSError, http.client.HTTPException) as error:
        problem = one_line(error)
    _reachability[url] = (time.monotonic(), problem)
    return problem


# -- Augmentation ------------------------------------------------------------------------------------
def augment(pixels: Pixels, options: QuickOptions, *, seed: Sequence[int]) -> Pixels:
    """Augment one image uint8 (side, side, 3), keeping its size.

    Rotates, flips and zooms in one bilinear step about the center; pixels from outside repeat the edge. The same
    ``seed`` gives the same image on every machine; without augmentation the image is unchanged.
    """
    rng = np.random.default_rng(seed)
    # Always draw all four numbers, so that enabling one more change leaves the others as they were.
    is_mirrored, rotation, zoom, brightness = rng.random(4)
    side = pixels.shape[0]
    matrix = np.eye(2)
    if options.rotate:
        angle = np.deg2rad(MAX_ROTATION_DEGREES * (2 * rotation - 1))
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if options.zoom:
        matrix = matrix / ZOOM ** (2 * zoom - 1)
    if options.flip and is_mirrored < 0.5:
        matrix = matrix @ np.diag([-1.0, 1.0])
    if not np.array_equal(matrix, np.eye(2)):
        pixels = _transform(pixels, matrix, side)
    if options.brightness:
        factor = np.float32(1 + BRIGHTNESS * (2 * brightness - 1))
        pixels = np.clip(np.rint(pixels * factor), 0, 255).astype(np.uint8)
    return pixels


def augmented_batch(
    pixels: npt.NDArray[np.uint8], positions: Sequence[int], options: QuickOptions, *, epoch: int
) -> Pixels:
    """Return the images at ``positions`` of ``pixels`` (n, side, side, 3) as in an epoch: uint8 (m, side, side, 3)."""
    if not options.is_augmented:
        return np.asarray(pixels[list(positions)])
    return np.stack([augment(pixels[at], options, seed=(options.seed, epoch, at)) for at in positions])


def samples(images: Sequence[Image.Image], options: QuickOptions, n: int) -> Pixels:
    """Return ``n`` augmented samples of some images as a training would see them: uint8 (n, side, side, 3).

    Cycles through the RGB images of any size; empty without images. Uses the same function as the training.
    """
    if not images or n < 1:
        return np.empty((0, options.image_side, options.image_side, 3), dtype=np.uint8)
    pixels = np.stack([squash(image, options.image_side) for image in images])
    numbers = (divmod(number, len(pixels)) for number in range(n))
    return np.concatenate([augmented_batch(pixels, [at], options, epoch=epoch) for epoch, at in numbers])


def _transform(pixels: Pixels, matrix: npt.NDArray[np.float64], side: int) -> Pixels:
    """Move each pixel from where ``matrix`` maps it, both relative to the center."""
    margin = side // 2
    padded = Image.fromarray(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    center = np.full(2, side / 2)
    offset = center + margin - matrix @ center
    rows = (*matrix[0], offset[0], *matrix[1], offset[1])
    moved = padded.transform((side, side), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
    return np.asarray(moved, dtype=np.uint8)
