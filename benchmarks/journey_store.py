"""Build a store with any number of items that a person can label: pictures, embeddings, labels, a model and a map.

    AL_STORE_DIR=STORE python -m benchmarks.journey_store PICTURES ITEMS LABELS.csv

The 1,797 digits of scikit-learn, drawn on noise, are the only picture files and thumbnails. All items share them: item
*i* has digit *i* modulo 1,797, in a folder that is a link to theirs. Its embedding (256 numbers) is a random projection
of the digit's pixels plus different noise for each item. The rest is done by the product's own commands: importing a
thousand labels, comparing the images with each other, training, and computing a UMAP map.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stage import ROOT

SLUG = "journey"
# One class for each key; nines are unsure.
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
DIM, N_DIGITS, N_LABELS = 256, 1797, 1000
SIZE = (320, 240)
AT_ONCE = 20_000


def environment(store: Path) -> dict[str, str]:
    """Return the environment of processes that use a store."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AL_")}
    return plain | {"AL_STORE_DIR": str(store), "AL_TOKEN": "0", "DJANGO_SETTINGS_MODULE": "hoshina.settings"}


def built_store(folder: Path, n_items: int) -> Path:
    """Return the store with that many items, built if it does not exist."""
    store, part = folder / str(n_items), folder / f"{n_items}.part"
    if store.exists():
        return store
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    manage = [sys.executable, "manage.py"]
    labels = part / "labels.csv"
    commands = [
        [*manage, "migrate", "-v0"],
        [sys.executable, "-m", "benchmarks.journey_store", str(folder / "pictures"), str(n_items), str(labels)],
        [*manage, "import_labels", str(labels), "--create-classes"],
        [*manage, "queue", "oddities", "-n1"],
        [*manage, "retrain"],
        [*manage, "project_map"],
    ]
    for command in commands:
        print(f"  {' '.join(command[1:])}", flush=True)
        subprocess.run(command, cwd=ROOT, env=environment(part), check=True, stdout=subprocess.DEVNULL)
    part.rename(store)
    return store


def copied_store(store: Path, place: Path) -> Path:
    """Copy a store by linking its files, which are never changed in place, except for the database."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(store, place, copy_function=os.link)
    for file in place.glob("app.db*"):
        file.unlink()
        shutil.copy(store / file.name, file)
    return place


# -- In a process with the store's settings ---------------------------------------------------------
def write_pictures(folder: Path) -> list[Path]:
    """Write the digits as JPEG files, unless they exist, and return their paths."""
    from PIL import Image

    files = [folder / "0000" / f"digit{number:04d}.jpg" for number in range(N_DIGITS)]
    if files[-1].exists():
        return files
    files[0].parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for file, pixels in zip(files, _digits().reshape(-1, 8, 8), strict=True):
        digit = Image.fromarray((pixels * 15).astype(np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        noise = rng.integers(0, 60, (SIZE[1] // 4, SIZE[0] // 4, 3), dtype=np.uint8)
        ground = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
        picture = np.minimum(255, np.asarray(ground, np.uint16) + np.asarray(digit)[:, :, None]).astype(np.uint8)
        Image.fromarray(picture).save(file, quality=85)
    return files


def _digits() -> NDArray[np.float64]:
    from sklearn.datasets import load_digits

    digits: NDArray[np.float64] = load_digits().data
    return digits


def fill(files: list[Path], n_items: int) -> None:
    """Add the dataset with its items, thumbnails and embeddings."""
    from labeling.models import Dataset

    root = files[0].parent.parent
    dataset = Dataset.objects.create(name=SLUG, slug=SLUG, root=str(root), n_items=n_items)
    for number in range(1, -(-n_items // N_DIGITS)):
        link = root / f"{number:04d}"
        if not link.is_symlink():
            link.symlink_to("0000", target_is_directory=True)
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    _add_items(dataset, files, hashes)
    _cache_thumbnails(files, hashes)
    _add_embeddings(dataset, hashes)


def path_of(row: int) -> str:
    """Return the path of an item below the root."""
    return f"{row // N_DIGITS:04d}/digit{row % N_DIGITS:04d}.jpg"


def _add_items(dataset: Any, files: list[Path], hashes: list[str]) -> None:
    from django.db import connection, transaction

    status = [file.stat() for file in files]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO labeling_item (id, dataset_id, row, path, is_available, state, newest_annotation_id) "
            "VALUES (%s, %s, %s, %s, 1, 0, 0)",
            ((row + 1, dataset.pk, row, path_of(row)) for row in range(dataset.n_items)),
        )
        facts = [(hashes[i], status[i].st_size, status[i].st_mtime_ns, *SIZE) for i in range(N_DIGITS)]
        cursor.executemany(
            "INSERT INTO labeling_frame (item_id, dataset_id, role, path, sha256, size, mtime_ns, width, height, "
            "format, note, revision) VALUES (%s, %s, 'image', %s, %s, %s, %s, %s, %s, 'JPEG', '', 0)",
            ((row + 1, dataset.pk, path_of(row), *facts[row % N_DIGITS]) for row in range(dataset.n_items)),
        )
        cursor.execute("ANALYZE")


def _cache_thumbnails(files: list[Path], hashes: list[str]) -> None:
    import io

    from PIL import Image

    from labeling.images.decoder_pool import pictures
    from labeling.images.thumbnails import TILE

    for file, sha256 in zip(files, hashes, strict=True):
        thumbnail, jpeg = Image.open(file), io.BytesIO()
        thumbnail.thumbnail((TILE, TILE))
        thumbnail.save(jpeg, "JPEG", quality=85)
        pictures().keep(jpeg.getvalue(), ".jpg", sha256, TILE)


def _add_embeddings(dataset: Any, hashes: list[str]) -> None:
    from modeling.models import EmbeddingSet
    from modeling.store import merge_parts, save_part, stamp_of

    embedding_set = EmbeddingSet.objects.create(
        dataset=dataset, fingerprint=SLUG, encoder="digits with noise", dim=DIM, is_active=True
    )
    rng = np.random.default_rng(0)
    digits = _digits()
    plain = ((digits - digits.mean(axis=0)) / 16) @ rng.normal(size=(64, DIM)) / 8
    stamps = np.array([stamp_of(sha256) for sha256 in hashes], np.uint64)
    for start in range(0, dataset.n_items, AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, dataset.n_items))
        vectors = plain[rows % N_DIGITS] + rng.normal(scale=0.1, size=(len(rows), DIM))
        save_part(embedding_set, start, start + len(rows), rows, stamps[rows % N_DIGITS], vectors.astype(np.float32))
    merge_parts(embedding_set, dataset.n_items)


def write_labels(file: Path, n_items: int) -> None:
    """Write the true labels of a thousand items, evenly spread, as CSV."""
    from sklearn.datasets import load_digits

    targets = load_digits().target
    rows = [int(row) for row in np.linspace(0, n_items - 1, N_LABELS) if targets[int(row) % N_DIGITS] < len(CLASSES)]
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "label"))
        table.writerows((path_of(row), CLASSES[targets[row % N_DIGITS]]) for row in rows)


def main() -> None:
    import django

    django.setup()
    pictures, n_items, labels = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    fill(write_pictures(pictures), n_items)
    write_labels(labels, n_items)


if __name__ == "__main__":
    main()
