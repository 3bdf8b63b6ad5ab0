"""Models and counts that browser tests share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from labeling.models import Dataset, Item, State
from modeling.versions.model_files import save_probabilities
from tests.modeling.factories import make_version


def add_falling_model(dataset: Dataset) -> None:
    """Add a model that predicts cat for the first 40 rows, with falling confidence, and dog for the others."""
    classes = list(dataset.classes.values_list("pk", flat=True))
    model = make_version(dataset, class_ids=classes, is_active=True, is_calibrated=True)
    rows = np.arange(dataset.n_items)
    chance = np.where(rows < 40, 0.999 - 0.001 * rows, 0.02)
    with save_probabilities(model, dataset.n_items, len(classes)) as P:
        P[:] = np.stack([chance, (1 - chance) * 0.9, (1 - chance) * 0.1], axis=1)


def write_digits(folder: Path, names: Sequence[str], n: int) -> list[str]:
    """Write ``n`` handwritten pictures of each of the first digits, named after them; return their names."""
    folder.mkdir()
    digits, files = load_digits(), []
    for digit, name in enumerate(names):
        for number, image in enumerate(digits.images[digits.target == digit][:n]):
            files.append(f"{name}{number:02d}.png")
            Image.fromarray((image * 15.9).astype("uint8")).save(folder / files[-1])
    return files


def label_counts(dataset: Dataset) -> dict[str, int]:
    items = Item.objects.filter(dataset=dataset, state=State.LABELLED)
    return {name: items.filter(label__name=name).count() for name in ("cat", "dog", "bird")}
