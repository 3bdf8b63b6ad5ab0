"""Embeddings, labels and pictures that tests of models share."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from PIL import Image

from labeling.decisions.save import Decision, record_import
from labeling.models import Action, Dataset, Frame, Item, State
from modeling import store as arrays
from modeling.backends import EncoderUnavailable, choose_encoder
from modeling.models import EmbeddingSet, ModelVersion
from tests.factories import MakeDataset, decide


def add_three_kinds(dataset: Dataset, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Add vectors of three kinds, the rows in turns: cat, dog, wolf."""
    rng = np.random.default_rng(3)
    y = np.arange(n) % 3
    X = (rng.normal(size=(n, 8)) + 2.5 * np.eye(8)[y]).astype(np.float32)
    add_vectors(dataset, X)
    return X, y


def add_vectors(dataset: Dataset, X: np.ndarray, has: np.ndarray | None = None) -> EmbeddingSet:
    """Add vectors of every row as an embedding job would leave them."""
    vectors = EmbeddingSet.objects.create(
        dataset=dataset, fingerprint="abc", encoder="test", dim=X.shape[1], is_active=True
    )
    stamps = np.where(np.ones(len(X), bool) if has is None else has, np.uint64(7), np.uint64(0))
    rows = np.flatnonzero(stamps)
    part = (rows.astype(np.int64), stamps[rows].astype(np.uint64), X[rows].astype(np.float32))
    arrays.save_part(vectors, 0, len(X), *part)
    arrays.merge_parts(vectors, len(X))
    return vectors


def two_clouds(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    return rng.normal(size=(n, 8)).astype(np.float32) + 2.0 * y[:, None], y


def clouds_dataset(make_dataset: MakeDataset, n: int, n_labeled: int = 0, **options: Any) -> tuple[Dataset, np.ndarray]:
    """Make a dataset with vectors of two clouds, its first rows labeled; return it and the classes of all rows."""
    dataset = make_dataset(n, **options)
    X, y = two_clouds(n)
    add_vectors(dataset, X)
    import_labels(dataset, list(range(n_labeled)), y)
    return dataset, y


def three_kinds_dataset(make_dataset: MakeDataset, n: int, n_labeled: int = 0) -> tuple[Dataset, np.ndarray]:
    """Make a dataset of three kinds of vectors, its first rows labeled; return it and the classes of all rows."""
    dataset = make_dataset(n, classes=("cat", "dog", "wolf"))
    _, y = add_three_kinds(dataset, n)
    import_labels(dataset, list(range(n_labeled)), y)
    return dataset, y


def import_labels(dataset: Dataset, rows: list[int], y: np.ndarray) -> None:
    classes = list(dataset.classes.values_list("pk", flat=True))
    ids = dict(dataset.items.values_list("row", "pk"))
    record_import(dataset, [Decision(ids[r], State.LABELLED, classes[int(y[r])]) for r in rows], None)


def decide_rows(dataset: Dataset, rows: list[int], y: np.ndarray) -> None:
    names = list(dataset.classes.values_list("name", flat=True))
    for row in rows:
        dataset.refresh_from_db()
        decide(dataset, Action.Kind.ASSIGN, [row], names[int(y[row])], at=timezone.now(), holder="me", queue="")
    dataset.refresh_from_db()


def make_version(dataset: Dataset, number: int = 1, **facts: Any) -> ModelVersion:
    """Make a version as the database knows it, without files."""
    usual = {"class_ids": list(dataset.classes.values_list("pk", flat=True)), "n_labels": 9, "n_decisions": 0}
    return ModelVersion.objects.create(dataset=dataset, number=number, **{"n_rows": dataset.n_items} | usual | facts)


def unavailable(message: str, *arguments: Any, choose: Callable[..., object] = choose_encoder) -> EncoderUnavailable:
    """Assert that an encoder cannot be had for a reason, and return what is said of it."""
    with pytest.raises(EncoderUnavailable, match=message) as raised:
        choose(*arguments)
    return raised.value


def noise_pictures(n: int, seed: int = 0) -> list[Image.Image]:
    """Return noise over coloured grounds, of all sizes and shapes."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        height, width = rng.integers(5, 200, 2)
        ground = rng.integers(0, 200, 3)
        found.append(Image.fromarray((ground + rng.integers(0, 55, (height, width, 3))).astype(np.uint8)))
    return found


def add_item_with_file(dataset: Dataset, row: int, *, colour: int | None = None) -> Path:
    """Add an item with a real image file, whose colours depend on its row."""
    file = dataset.data_dir / f"image{row:04d}.png"
    file.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(row).integers(0, 255, (20 + row % 7, 30, 3), dtype=np.uint8)
    if colour is not None:
        pixels[:10] = colour
    Image.fromarray(pixels).save(file)
    item, _ = Item.objects.get_or_create(dataset=dataset, row=row, defaults={"path": file.name})
    facts = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": 1, "mtime_ns": 1}
    Frame.objects.update_or_create(
        item=item, defaults={**facts, "dataset": dataset, "path": file.name, "width": 30, "height": 20, "format": "PNG"}
    )
    return file
