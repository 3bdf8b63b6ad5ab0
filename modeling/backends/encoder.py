"""Define an encoder that is ready to run: images in, vectors out, with a fingerprint of the kind of vector."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hoshina.core.errors import Refusal
from labeling.images.encoder_inputs import PREPROCESSING_VERSION, Pixels, decode_side, squash

FloatArray = npt.NDArray[np.float32]


class EncoderUnavailable(Refusal):
    """The requested encoder cannot run here; ``reason`` is the message without its full stop."""

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason.removesuffix(".")
        super().__init__(f"{self.reason}.", hint)


class Encoder(ABC):
    """Turns images into embedding vectors.

    The work is split in two, so that threads can decode and resize images (Pillow releases the global interpreter lock)
    while earlier batches are computed: :meth:`prepare` per image, :meth:`encode_prepared` per batch.

    Attributes
    ----------
    backend
        Name in the registry, see ``modeling.backends.registry``.
    name
        Display name.
    fingerprint
        16 hexadecimal digits; equal for encoders whose vectors are comparable.
    dim
        Length of a vector.
    input_side
        Side in pixels of the square input.
    is_plain
        Whether :meth:`prepare` is only :func:`labeling.images.encoder_inputs.squash`, which an ingest may do in
        advance.
    batch_size
        Preferred number of images for :meth:`encode_prepared`.
    reason
        Why this encoder was chosen.
    is_fallback
        Whether a better encoder was unavailable.
    """

    backend: str = ""
    name: str
    fingerprint: str
    dim: int
    input_side: int
    is_plain: bool = True
    batch_size: int
    reason: str
    is_fallback: bool = False

    @property
    def is_alive(self) -> bool:
        """Return whether the encoder can still be used: the process that runs it may have crashed."""
        return True

    @property
    def decode_side(self) -> int:
        """Return the side in pixels at which to decode an image; a larger one has almost no benefit."""
        return decode_side(self.input_side)

    def prepare(self, image: Image.Image) -> Pixels:
        """Convert an upright RGB image to uint8 (input_side, input_side, 3). Thread-safe."""
        return squash(image, self.input_side)

    @abstractmethod
    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        """Encode uint8 (n, input_side, input_side, 3) as float32 (n, dim), all finite; n may be 0. Thread-safe."""

    def encode(self, images: Sequence[Image.Image]) -> FloatArray:
        """Encode RGB images of any size as float32 (n, dim), all finite."""
        if not images:
            return np.empty((0, self.dim), dtype=np.float32)
        return np.concatenate(
            [
                self.encode_prepared(np.stack([self.prepare(image) for image in images[i : i + self.batch_size]]))
                for i in range(0, len(images), self.batch_size)
            ]
        )


def fingerprint(**facts: str | int | float) -> str:
    """Return 16 hexadecimal digits that identify everything that determines the meaning of a vector."""
    text = json.dumps({**facts, "preprocessing": PREPROCESSING_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def one_line(error: BaseException) -> str:
    """Return an error's message on one line of at most 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"
