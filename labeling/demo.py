"""Something to try it with: the 1,797 handwritten digits that scikit-learn ships, as PNG files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from django.conf import settings
from PIL import Image

DEMO_NAME = "digits"


def demo_folder() -> tuple[Path, str]:
    """The folder of the digits, written to the store on first use, and the dataset's name.

    The files are 8 × 8 pixels, ``digit0000.png`` onwards in scikit-learn's order, without their labels.
    """
    folder = Path(settings.STORE_DIR) / "demo" / DEMO_NAME
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
        try:
            _write(temporary / DEMO_NAME)
            _move(temporary / DEMO_NAME, folder)
        finally:
            shutil.rmtree(temporary)
    return folder, DEMO_NAME


def _write(folder: Path) -> None:
    from sklearn.datasets import load_digits  # late: it takes a second, and only the demo needs it

    folder.mkdir()
    images = load_digits().images  # (1797, 8, 8), 0 to 16
    for number, image in enumerate(np.rint(images * (255 / 16)).astype(np.uint8)):
        Image.fromarray(image).save(folder / f"digit{number:04d}.png")


def _move(made: Path, folder: Path) -> None:
    """All or nothing; another process that was faster wrote the same."""
    try:
        made.replace(folder)
    except OSError:
        if not folder.exists():
            raise
