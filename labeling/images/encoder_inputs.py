"""Cache encoder inputs: whole images resized to a small square.

An ingest caches them when it decodes files, until embeddings are computed, so that each file is decoded once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.thumbnails import TILE, write_whole

Pixels = npt.NDArray[np.uint8]

# Increase this when the same image gives other pixels than before: earlier embeddings are then not comparable.
PREPROCESSING_VERSION = 3


def decode_side(side: int) -> int:
    """Return the side at which to open an image for a square of ``side`` pixels, large enough also for its tile."""
    return max(TILE, side)


def squash(image: Image.Image, side: int, height: int | None = None) -> Pixels:
    """Resize the whole image to a square of ``side`` pixels, uint8 (side, side, 3), or to ``side`` by ``height``.

    Nothing is cropped, because the object to label may lie at the edge. Stretching to the square did as well as gray
    borders on drawings and photos (see DESIGN_NOTES.md) and uses every pixel for the image.
    """
    if image.mode != "RGB":
        image = image.convert("RGB")
    # reducing_gap: first a cheap box reduction, then the filter; with 3 there is no visible difference.
    small = image.resize((side, height or side), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Squares:
    """The cache of squares: a folder with 16 shards by hash. More shards would cost more than they save."""

    folder: Path
    side: int
    rendering: Rendering = DEFAULT

    def keep(self, image: Image.Image, sha256: str) -> None:
        """Cache the square of an image that was opened for :func:`decode_side`. Raises OSError."""
        write_whole(self._place(sha256), squash(image, self.side).tobytes())

    def find(self, sha256: str) -> Pixels | None:
        """Return the cached square, uint8 (side, side, 3), or None."""
        try:
            content = self._place(sha256).read_bytes()
        except OSError:  # usually missing; in any case the file itself can be read
            return None
        if len(content) != self.n_bytes:
            return None
        return np.frombuffer(content, np.uint8).reshape(self.side, self.side, 3)

    def drop(self, hashes: Iterable[str]) -> None:
        """Delete these squares, because their embeddings were computed."""
        for sha256 in hashes:
            try:
                self._place(sha256).unlink(missing_ok=True)
            except OSError:  # Windows: a process reads it; the end of the job deletes it
                continue

    @property
    def n_bytes(self) -> int:
        """Return the size of a square in bytes."""
        return self.side**2 * 3

    def count(self) -> int:
        """Return the number of cached squares."""
        return sum(1 for _ in self.folder.glob("*/*.rgb"))

    def _place(self, sha256: str) -> Path:
        way = f"-{self.rendering.key}" if self.rendering.key else ""
        return self.folder / sha256[0] / f"{sha256}-{self.side}-{PREPROCESSING_VERSION}{way}.rgb"
