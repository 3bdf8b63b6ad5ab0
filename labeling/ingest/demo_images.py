"""Something to try it with: the 1,797 handwritten digits of scikit-learn, as PNG files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

DEMO_NAME = "digits"


def write_digits(folder: Path) -> Path:
    """Write the digits to ``folder`` unless it is there already, all or nothing; returns ``folder``.

    The files are 8 × 8 pixels, ``digit0000.png`` onwards in scikit-learn's order, without their labels.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as temporary:
            _write(Path(temporary) / folder.name)
            _move(Path(temporary) / folder.name, folder)
    return folder


def _write(folder: Path) -> None:
    from sklearn.datasets import load_digits  # late: it takes a second, and only the demo needs it

    folder.mkdir()
    images = load_digits().images  # (1797, 8, 8), 0 to 16
    for number, image in enumerate(np.rint(images * (255 / 16)).astype(np.uint8)):
        Image.fromarray(image).save(folder / f"digit{number:04d}.png")


def _move(made: Path, folder: Path) -> None:
    """Another process that was faster wrote the same."""
    try:
        made.replace(folder)
    except OSError:
        if not folder.exists():
            raise
