"""What is wrong with a file, in words; and the one limit that every format keeps."""

from __future__ import annotations

# Larger images are refused by their header, before a byte of pixels is unpacked.
MAX_PIXELS = 200_000_000

# Said of files of any format.
TRUNCATED = "The file is truncated: it ends before the image does. Copy or download it again."


class ImageProblem(Exception):
    """No image can be got from a file; ``reason`` says why in plain words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def refuse_too_large(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Raise ImageProblem for an image of more than ``most`` pixels, or of none."""
    if width < 1 or height < 1:
        raise ImageProblem("The image has no pixels, its header says; copy or save it again.")
    if width * height > most:
        raise ImageProblem(
            f"The image claims to be {width:,} × {height:,} pixels ({width * height / 1e6:,.0f} megapixels); "
            f"the limit is {most // 1_000_000:,} megapixels. Save it smaller, or remove it if it is none."
        )
