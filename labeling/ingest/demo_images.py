"""Write the demo dataset: the 1,797 handwritten digits of scikit-learn as PNG files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from django.conf import settings
from PIL import Image

from labeling.ingest.dataset_folder import DEMO, create_dataset, dataset_for
from labeling.models import Dataset

DEMO_NAME = "digits"


def demo_folder() -> Path:
    """Return the folder of the demo in the store; :func:`write_digits` fills it."""
    return Path(settings.STORE_DIR) / DEMO / DEMO_NAME


def demo_dataset() -> Dataset:
    """Return the demo dataset, creating it if necessary; its ingest writes the images."""
    if demo_folder().exists():
        return dataset_for(demo_folder())
    demo_folder().parent.mkdir(parents=True, exist_ok=True)
    root = demo_folder().parent.resolve() / DEMO_NAME
    existing = Dataset.objects.present().filter(root=str(root)).first()
    return existing or create_dataset(DEMO_NAME, root)


def write_digits(folder: Path) -> Path:
    """Write the digits to ``folder`` atomically, unless it exists, and return ``folder``.

    The files have 8 × 8 pixels. They are numbered from ``digit0000.png`` in scikit-learn's order, without labels.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as temporary:
            _write(Path(temporary) / folder.name)
            _move(Path(temporary) / folder.name, folder)
    return folder


def _write(folder: Path) -> None:
    from sklearn.datasets import load_digits  # slow to import, and needed only here

    folder.mkdir()
    images = load_digits().images  # (1797, 8, 8), 0 to 16
    for number, image in enumerate(np.rint(images * (255 / 16)).astype(np.uint8)):
        Image.fromarray(image).save(folder / f"digit{number:04d}.png")


def _move(source: Path, folder: Path) -> None:
    """Move a finished folder into place, unless another process has written the same one."""
    try:
        source.replace(folder)
    except OSError:
        if not folder.exists():
            raise
