"""Define the error for unreadable image files, and the size limit of all formats."""

from __future__ import annotations

# Larger images are refused because of their header, before pixels are decoded.
MAX_PIXELS = 200_000_000

# The message for files of all formats.
TRUNCATED = "The file is truncated: it ends before the image does. Copy or download it again."


class ImageProblem(Exception):
    """A file that cannot be read as an image. ``reason``: a readable message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def refuse_too_large(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Raise ImageProblem for an image with more than ``most`` pixels, or without pixels."""
    if width < 1 or height < 1:
        raise ImageProblem("According to its header, the image has no pixels. Copy or save it again.")
    if width * height > most:
        raise ImageProblem(
            f"According to its header, the image has {width:,} × {height:,} pixels ({width * height / 1e6:,.0f} "
            f"megapixels). The limit is {most // 1_000_000:,} megapixels. Save it smaller, or remove it."
        )
