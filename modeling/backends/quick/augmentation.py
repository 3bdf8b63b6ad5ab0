"""What a quick training needs before TensorFlow: which weights are at hand, and images seen a little differently.

Imports no TensorFlow, so that a page may show the very images that a training would see.
"""

from __future__ import annotations

import http.client
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labeling.images.encoder_inputs import Pixels, squash
from modeling.backends import weights
from modeling.backends.encoder import EncoderUnavailable, one_line
from modeling.quick.options import BACKBONES, QuickOptions

# How far an image is turned, enlarged or made smaller, and made brighter or darker, at most.
TURN_DEGREES = 20.0
ZOOM = 1.25
BRIGHTNESS = 0.25

_ASK_AGAIN_SECONDS = 60.0
_FILES = {
    "mobilenet_v2": weights.MOBILENET_V2,
    "efficientnet_b0": weights.EFFICIENTNET_B0,
    "resnet50": weights.RESNET50,
}


# -- Weights -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class WeightsAtHand:
    """Whether a backbone's ImageNet weights lie on this machine, could be fetched, and that in words."""

    is_here: bool
    can_be_had: bool
    words: str


def weights_at_hand(backbone: str, weights_dir: Path | None) -> WeightsAtHand:
    """What a training of ``backbone`` would begin with, known before it begins.

    Looks for the file, and where there is none asks its address whether it answers: seconds at most, and not again
    within a minute.
    """
    wanted = _FILES[backbone]
    if not is_installed():
        return WeightsAtHand(False, False, "TensorFlow is not installed: without it there is no quick training.")
    try:
        _, origin = weights.locate(wanted, weights_dir, download=False)
    except EncoderUnavailable as missing:
        why_not = _why_unreachable(wanted.url)
        if not why_not:
            words = f"ImageNet weights of {wanted.title} would be downloaded when the training begins."
            return WeightsAtHand(False, True, words)
        words = f"{missing.message}, and their address does not answer ({why_not}). {missing.hint}"
        return WeightsAtHand(False, False, f"{words} {_other_ways(backbone, weights_dir)}")
    return WeightsAtHand(True, True, f"ImageNet weights of {wanted.title} {origin}.")


def origin_of(backbone: str, weights_dir: Path | None) -> str:
    """Where a backbone's ImageNet weights lie on this machine, in words; empty where they don't. Asks no network."""
    try:
        return weights.locate(_FILES[backbone], weights_dir, download=False)[1]
    except EncoderUnavailable:
        return ""


def imagenet_weights(backbone: str, weights_dir: Path | None) -> Path:
    """The weight file of a backbone, fetched if need be. Raises ``EncoderUnavailable`` with what else can be done."""
    try:
        return weights.locate(_FILES[backbone], weights_dir)[0]
    except EncoderUnavailable as missing:
        raise EncoderUnavailable(missing.message, f"{missing.hint} {_other_ways(backbone, weights_dir)}") from missing


def is_installed() -> bool:
    """Is TensorFlow there to be imported? Looks without importing it."""
    return importlib.util.find_spec("tensorflow") is not None


def _other_ways(backbone: str, weights_dir: Path | None) -> str:
    """What to choose in place of weights that cannot be had."""
    others = [name for name in BACKBONES if name != backbone and origin_of(name, weights_dir)]
    titles = " or ".join(BACKBONES[name].title for name in others)
    instead = f"{titles}, whose weights are here, or " if titles else ""
    return f"Choose {instead}a network that begins at random and is trained from nothing."


_answers: dict[str, tuple[float, str]] = {}


def _why_unreachable(url: str) -> str:
    """Why an address does not answer, in words; empty where it does."""
    asked_at, why_not = _answers.get(url, (float("-inf"), ""))
    if time.monotonic() - asked_at < _ASK_AGAIN_SECONDS:
        return why_not
    try:
        weights.connect(url).close()
        why_not = ""
    except (OSError, http.client.HTTPException) as error:
        why_not = one_line(error)
    _answers[url] = (time.monotonic(), why_not)
    return why_not


# -- Augmentation ------------------------------------------------------------------------------------
def augmented(pixels: Pixels, options: QuickOptions, *, seed: Sequence[int]) -> Pixels:
    """One image seen a little differently: uint8 (side, side, 3) of the same size.

    Turned, mirrored and zoomed in one step about its middle, bilinear; what comes in from outside repeats the edge.
    The same ``seed`` gives the same image on every machine; with no augmentation chosen the image itself.
    """
    rng = np.random.default_rng(seed)
    # Always all four draws: choosing one more kind of change leaves the others as they were.
    is_mirrored, turn, zoom, light = rng.random(4)
    side = pixels.shape[0]
    matrix = np.eye(2)
    if options.rotate:
        angle = np.deg2rad(TURN_DEGREES * (2 * turn - 1))
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if options.zoom:
        matrix = matrix / ZOOM ** (2 * zoom - 1)
    if options.flip and is_mirrored < 0.5:
        matrix = matrix @ np.diag([-1.0, 1.0])
    if not np.array_equal(matrix, np.eye(2)):
        pixels = _moved(pixels, matrix, side)
    if options.brightness:
        factor = np.float32(1 + BRIGHTNESS * (2 * light - 1))
        pixels = np.clip(np.rint(pixels * factor), 0, 255).astype(np.uint8)
    return pixels


def augmented_batch(
    pixels: npt.NDArray[np.uint8], positions: Sequence[int], options: QuickOptions, *, epoch: int
) -> Pixels:
    """The images at ``positions`` of ``pixels`` (n, side, side, 3) as an epoch sees them: uint8 (m, side, side, 3)."""
    if not options.is_augmented:
        return np.asarray(pixels[list(positions)])
    one = partial(augmented, options=options)
    return np.stack([one(pixels[at], seed=(options.seed, epoch, at)) for at in positions])


def samples(images: Sequence[Image.Image], options: QuickOptions, n: int) -> Pixels:
    """What a training would see of some images: uint8 (n, side, side, 3), one after the other and round again.

    RGB images of any size; for none the result is empty. Made by the function that the training uses.
    """
    if not images or n < 1:
        return np.empty((0, options.image_side, options.image_side, 3), dtype=np.uint8)
    pixels = np.stack([squash(image, options.image_side) for image in images])
    seen = [
        augmented_batch(pixels, [number % len(pixels)], options, epoch=number // len(pixels)) for number in range(n)
    ]
    return np.concatenate(seen)


def _moved(pixels: Pixels, matrix: npt.NDArray[np.float64], side: int) -> Pixels:
    """Each pixel taken from where ``matrix`` leads from it, both seen from the middle."""
    margin = side // 2
    padded = Image.fromarray(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    middle = np.full(2, side / 2)
    offset = middle + margin - matrix @ middle
    rows = (*matrix[0], offset[0], *matrix[1], offset[1])
    moved = padded.transform((side, side), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
    return np.asarray(moved, dtype=np.uint8)
