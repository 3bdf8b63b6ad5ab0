"""Make signatures of images: by decoding them, or from the inputs of another encoder, which are decoded anyway."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modeling.algorithms.perceptual_hash import SIDE, Pixels, signature_of
from modeling.backends.encoder import Encoder, FloatArray
from modeling.encoders.input_spec import InputSpec
from modeling.leakage.files import ROW_BYTES, save_part

# Smaller inputs of encoders have too few pixels for a signature.
_LEAST_SIDE = 2 * SIDE


class SignatureEncoder(Encoder):
    """Encode an image as its signature, with the decoding and the threads of other encoders."""

    name = "signature"
    fingerprint = "signature"
    dim = ROW_BYTES
    input_side = SIDE
    is_plain = False
    batch_size = 64
    reason = ""

    @property
    def decode_side(self) -> int:
        """Return a side that is reduced with care."""
        return 4 * SIDE

    def prepare(self, image: Image.Image) -> Pixels:
        return signature_of(image)

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        return pixels.reshape(len(pixels), -1).astype(np.float32)


class Signatures:
    """Collect the signatures of ``n`` items while an encoder works, so that their files are decoded once."""

    def __init__(self, n: int) -> None:
        self._pictures = np.zeros((n, SIDE, SIDE), np.uint8)
        self._has = np.zeros(n, dtype=np.bool_)

    def add(self, positions: Sequence[int], pixels: Sequence[NDArray[np.uint8]]) -> None:
        """Add the pictures of these items, given as squares uint8 (side, side, 3); small ones are left out."""
        for position, square in zip(positions, pixels, strict=True):
            if square.ndim == 3 and square.shape[0] >= _LEAST_SIDE:
                self._pictures[position], self._has[position] = signature_of(Image.fromarray(square)), True

    def save(self, dataset_id: int, spec: InputSpec, rows: NDArray[np.int64], stamps: NDArray[np.uint64]) -> None:
        """Save those of items with these ``rows`` (n,) and ``stamps`` (n,) for the next check."""
        save_part(dataset_id, spec, rows[self._has], stamps[self._has], self._pictures[self._has])
