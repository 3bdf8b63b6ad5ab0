"""Load the collections for the replays: cached vectors and true labels, split by a seed."""

from __future__ import annotations

import gzip
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from modeling.backends import choose_encoder
from modeling.backends.encoder import Encoder
from modeling.backends.hog import HogEncoder

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

# Folder of cached vectors.
CACHE = Path(gettempdir()) / "hoshina-label-efficiency"
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
STAMPS = Path("/usr/share/tuxpaint/stamps")  # Debian: tuxpaint-stamps-default
N_FASHION, N_FASHION_POOL = 30_000, 20_000
# Minimum number of stamps for a folder to be a class, so that some can be held out.
MIN_STAMPS = 12
RARE_SHARE = 0.01


@dataclass(frozen=True)
class Split:
    """One split of a collection: a pool to label, and held-out images."""

    X: Floats
    y: Rows
    held_out_X: Floats
    held_out_y: Rows
    rare: int | None = None  # the class that was made rare

    @property
    def n_classes(self) -> int:
        return int(max(self.y.max(), self.held_out_y.max())) + 1


@dataclass(frozen=True)
class Collection:
    """A collection and how it is replayed. A budget below 1 is a share of the pool."""

    name: str
    title: str
    load: Callable[[Path], tuple[Floats, Rows]]
    pool_share: float
    budget: float
    batch: int
    is_imbalanced: bool = False

    def draw(self, cache: Path, seed: int) -> Split:
        """Return the split of a seed; each seed makes another class rare."""
        X, y = self.load(cache)
        rng = np.random.default_rng(1000 + seed)
        order = rng.permutation(len(X))
        rare = None
        if self.is_imbalanced:
            rare = seed % (int(y.max()) + 1)
            others = order[y[order] != rare]
            few = order[y[order] == rare][: round(len(others) * RARE_SHARE / (1 - RARE_SHARE))]
            order = rng.permutation(np.concatenate([others, few]))
        cut = round(len(order) * self.pool_share)
        mine, other = np.sort(order[:cut]), np.sort(order[cut:])
        return Split(X[mine], y[mine], X[other], y[other], rare)

    def labels(self, n_pool: int) -> int:
        """Return the number of labels of a replay."""
        return int(self.budget * n_pool if self.budget < 1 else self.budget)


def digits(cache: Path) -> tuple[Floats, Rows]:
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32) / 16, y.astype(np.int64)


def fashion_mobilenet(cache: Path) -> tuple[Floats, Rows]:
    y = _fashion_labels()
    return _kept(cache / "fashion-mobilenet.npy", _fashion_images, _mobilenet), y


def fashion_hog(cache: Path) -> tuple[Floats, Rows]:
    y = _fashion_labels()
    return _kept(cache / "fashion-hog.npy", _fashion_images, lambda: HogEncoder("for the benchmark")), y


def stamps(cache: Path) -> tuple[Floats, Rows]:
    """Return MobileNetV2 vectors of Tux Paint's stamps; the class is the outermost folder."""
    files, y = stamp_classes()
    return _kept(cache / "stamps-mobilenet.npy", lambda: map(_opened, files), _mobilenet), y


def stamp_classes() -> tuple[list[Path], Rows]:
    """Return the stamps of folders with enough of them, and the class of each."""
    folders = Counter(file.relative_to(STAMPS).parts[0] for file in _stamp_files())
    classes = sorted(name for name, n in folders.items() if n >= MIN_STAMPS)
    files = [file for file in _stamp_files() if file.relative_to(STAMPS).parts[0] in classes]
    return files, np.array([classes.index(file.relative_to(STAMPS).parts[0]) for file in files], np.int64)


COLLECTIONS = {
    collection.name: collection
    for collection in (
        Collection("fashion", "Fashion-MNIST, MobileNetV2", fashion_mobilenet, N_FASHION_POOL / N_FASHION, 2000, 40),
        Collection("digits", "scikit-learn digits, pixels", digits, 0.75, 0.2, 20),
        Collection("stamps", "Tux Paint stamps, MobileNetV2", stamps, 0.75, 0.2, 10),
        Collection(
            "rare",
            "Fashion-MNIST with one class at 1 %, MobileNetV2",
            fashion_mobilenet,
            N_FASHION_POOL / N_FASHION,
            2000,
            40,
            is_imbalanced=True,
        ),
        Collection("hog", "Fashion-MNIST, HOG", fashion_hog, N_FASHION_POOL / N_FASHION, 2000, 40),
    )
}


def _fashion_images() -> Iterator[Image.Image]:
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + N_FASHION * 784)[16:], np.uint8).reshape(-1, 28, 28)
    return (Image.fromarray(image).convert("RGB") for image in pixels)


def _fashion_labels() -> Rows:
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        return np.frombuffer(stream.read(8 + N_FASHION)[8:], np.uint8).astype(np.int64)


def _stamp_files() -> list[Path]:
    """Return the pictures without their mirror images, which are recognized by their suffix."""
    return sorted(f for f in STAMPS.rglob("*.png") if not f.stem.endswith(("_mirror", "_flip", "_mirror_flip")))


def _opened(file: Path) -> Image.Image:
    """Open a stamp on the product's gray background."""
    from labeling.images.open_image import open_image

    return open_image(file)


def _mobilenet() -> Encoder:
    folder = os.environ.get("AL_WEIGHTS_DIR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return choose_encoder("tensorflow", Path(folder) if folder else None)


def _kept(file: Path, images: Callable[[], Iterable[Image.Image]], encoder: Callable[[], Encoder]) -> Floats:
    """Return the vectors cached in ``file``, computed if missing; memory-mapped, so that processes share them."""
    if not file.exists():
        network = encoder()
        todo, parts = iter(images()), []
        while batch := list(islice(todo, 64)):
            parts.append(network.encode_prepared(np.stack([network.prepare(image) for image in batch])))
            if len(parts) % 20 == 0:
                print(f"{file.stem}: {sum(map(len, parts)):,} vectors", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"draft-{os.getpid()}-{file.name}")
        np.save(draft, np.concatenate(parts))
        draft.replace(file)
    return np.asarray(np.load(file, mmap_mode="r"))
