"""Load the collections for the replays: cached vectors and true labels, split by a seed."""

from __future__ import annotations

import gzip
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.label_efficiency.deep_sky import deep_sky_kinds
from modeling.algorithms.reduction import Reduction
from modeling.backends import JoinedEncoder, choose_encoder
from modeling.backends.encoder import Encoder
from modeling.backends.hog import COLOUR_DIM, HOG_DIM, HogEncoder
from modeling.backends.joined import DIMS
from modeling.backends.plugins import LoadedEncoder

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

# Folder of cached vectors.
CACHE = Path(gettempdir()) / "hoshina-label-efficiency"
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
STAMPS = Path("/usr/share/tuxpaint/stamps")  # Debian: tuxpaint-stamps-default
N_FASHION, N_FASHION_POOL = 30_000, 20_000
ASTROPHOTOS = Path("/usr/share/stellarium/nebulae/default")  # Debian: stellarium-data
DRAWINGS = Path("/usr/share/openclipart/png")  # Debian: openclipart-png
SUBJECTS = ("animals", "buildings", "food", "people", "plants", "recreation", "tools", "transportation")
MAX_DRAWINGS = 250  # of a class
MAX_PIXELS = 20_000_000
# Images of the sample that the components of joined encoders are fitted to, as in modeling/encoders/reductions.py.
SAMPLE = 1024
MOBILENET_DIM, LITE2_DIM = 1280, 1280
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
    """Describe a collection and how it is replayed. A budget below 1 is a share of the pool.

    ``load`` returns vectors and labels. With a ``base``, the name of the collection with today's vectors, they are
    those of joined encoders, of these ``widths``: they are reduced to components, and the head is smoothed over the
    k-NN graph.
    """

    name: str
    title: str
    load: Callable[[Path], tuple[Floats, Rows]]
    pool_share: float
    budget: float
    batch: int
    is_imbalanced: bool = False
    base: str = ""
    widths: tuple[int, ...] = ()

    def draw(self, cache: Path, seed: int, limit: int | None = None) -> Split:
        """Return the split of a seed, of at most ``limit`` images; each seed makes another class rare."""
        X, y = self.load(cache)
        rng = np.random.default_rng(1000 + seed)
        order = rng.permutation(len(X))[:limit]
        rare = None
        if self.is_imbalanced:
            rare = seed % (int(y.max()) + 1)
            others = order[y[order] != rare]
            few = order[y[order] == rare][: round(len(others) * RARE_SHARE / (1 - RARE_SHARE))]
            order = rng.permutation(np.concatenate([others, few]))
        cut = round(len(order) * self.pool_share)
        mine, other = np.sort(order[:cut]), np.sort(order[cut:])
        if self.base:
            sample = np.sort(rng.permutation(mine)[:SAMPLE])
            reduction = Reduction.fit(np.asarray(X[sample]), self.widths, DIMS, rng=rng)
            return Split(reduction.apply(X[mine])[0], y[mine], reduction.apply(X[other])[0], y[other], rare)
        return Split(X[mine], y[mine], X[other], y[other], rare)

    def labels(self, n_pool: int) -> int:
        """Return the number of labels of a replay."""
        return int(self.budget * n_pool if self.budget < 1 else self.budget)


def digits(cache: Path) -> tuple[Floats, Rows]:
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32) / 16, y.astype(np.int64)


def fashion_hog(cache: Path) -> tuple[Floats, Rows]:
    y = _fashion_labels()
    return _kept(cache / "fashion-hog.npy", _fashion_images, lambda: LoadedEncoder(HogEncoder())), y


def _images_and_labels(name: str) -> tuple[Callable[[], Iterable[Image.Image]], Rows]:
    """Return a function that yields the images of a collection, and the class of each."""
    if name == "digits":
        return _digit_images, load_digits().target.astype(np.int64)
    if name == "fashion":
        return _fashion_images, _fashion_labels()
    if name == "astrophotos":  # Stellarium's pictures of deep-sky objects; the class is the kind of object
        kinds = deep_sky_kinds(ASTROPHOTOS)
        return lambda: map(_opened, kinds), np.array([*kinds.values()])
    # Tux Paint's stamps and Open Clip Art's drawings; the class is the outermost folder
    files, y = stamp_classes() if name == "stamps" else drawing_classes()
    return lambda: map(_opened, files), y


def joined(name: str) -> Callable[[Path], tuple[Floats, Rows]]:
    """Return a loader of the vectors of MobileNetV2 and HOG side by side."""

    def load(cache: Path) -> tuple[Floats, Rows]:
        images, y = _images_and_labels(name)
        return _kept(cache / f"{name}-joined.npy", images, _joined), y

    return load


def two_networks(name: str) -> Callable[[Path], tuple[Floats, Rows]]:
    """Return a loader of the vectors of EfficientNet-Lite2, MobileNetV2 and HOG side by side."""

    def load(cache: Path) -> tuple[Floats, Rows]:
        images, y = _images_and_labels(name)
        lite2 = _kept(cache / f"{name}-lite2.npy", images, lambda: _encoder("efficientnet_lite2"))
        return np.concatenate([lite2, joined(name)(cache)[0]], axis=1), y

    return load


def _mobilenet_part(load_joined: Callable[[Path], tuple[Floats, Rows]]) -> Callable[[Path], tuple[Floats, Rows]]:
    """Return a loader of the first encoder's vectors alone."""

    def load(cache: Path) -> tuple[Floats, Rows]:
        X, y = load_joined(cache)
        return X[:, :MOBILENET_DIM], y

    return load


fashion_mobilenet, stamps = _mobilenet_part(joined("fashion")), _mobilenet_part(joined("stamps"))


def drawing_classes() -> tuple[list[Path], Rows]:
    """Return up to 250 drawings of each of eight folders, and the class of each."""
    rng = np.random.default_rng(0)
    files: list[tuple[Path, int]] = []
    for position, subject in enumerate(SUBJECTS):
        found = [file for file in sorted((DRAWINGS / subject).rglob("*.png")) if not file.is_symlink()]
        found = [file for file in found if np.prod(Image.open(file).size) <= MAX_PIXELS]
        files += [(found[index], position) for index in np.sort(rng.permutation(len(found))[:MAX_DRAWINGS])]
    return [file for file, _ in files], np.array([position for _, position in files], np.int64)


def stamp_classes() -> tuple[list[Path], Rows]:
    """Return the stamps of folders with enough of them, and the class of each."""
    folders = Counter(file.relative_to(STAMPS).parts[0] for file in _stamp_files())
    classes = sorted(name for name, n in folders.items() if n >= MIN_STAMPS)
    files = [file for file in _stamp_files() if file.relative_to(STAMPS).parts[0] in classes]
    return files, np.array([classes.index(file.relative_to(STAMPS).parts[0]) for file in files], np.int64)


N_SHARE = N_FASHION_POOL / N_FASHION
TODAY = (
    Collection("fashion", "Fashion-MNIST, MobileNetV2", fashion_mobilenet, N_SHARE, 2000, 40),
    Collection("digits", "scikit-learn digits, pixels", digits, 0.75, 0.2, 20),
    Collection("stamps", "Tux Paint stamps, MobileNetV2", stamps, 0.75, 0.2, 10),
    Collection("rare", "Fashion-MNIST with one class at 1 %, MobileNetV2", fashion_mobilenet, N_SHARE, 2000, 40, True),
    Collection("hog", "Fashion-MNIST, HOG", fashion_hog, N_SHARE, 2000, 40),
    Collection("astrophotos", "Astrophotos, MobileNetV2", _mobilenet_part(joined("astrophotos")), 0.7, 0.5, 10),
    Collection("drawings", "Drawings, MobileNetV2", _mobilenet_part(joined("drawings")), 0.75, 0.3, 20),
)
# The images of each collection that is also replayed with joined encoders.
IMAGES = {
    "fashion": "fashion",
    "digits": "digits",
    "stamps": "stamps",
    "rare": "fashion",
    "astrophotos": "astrophotos",
    "drawings": "drawings",
}


def _joined_variants(base: Collection) -> Iterator[Collection]:
    """Yield a collection with joined encoders: one network and HOG, and two networks and HOG."""
    widths = (MOBILENET_DIM, HOG_DIM + COLOUR_DIM)
    variants = (("joined", joined, widths), ("two-networks", two_networks, (LITE2_DIM, *widths)))
    for ending, loader, these in variants:
        title = f"{base.title.rpartition(', ')[0]}, {ending.replace('-', ' ')} and smoothed"
        load = loader(IMAGES[base.name])
        yield replace(base, name=f"{base.name}-{ending}", title=title, load=load, base=base.name, widths=these)


COLLECTIONS = {collection.name: collection for collection in TODAY} | {
    variant.name: variant for base in TODAY if base.name in IMAGES for variant in _joined_variants(base)
}


def _fashion_images() -> Iterator[Image.Image]:
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + N_FASHION * 784)[16:], np.uint8).reshape(-1, 28, 28)
    return (Image.fromarray(image).convert("RGB") for image in pixels)


def _fashion_labels() -> Rows:
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        return np.frombuffer(stream.read(8 + N_FASHION)[8:], np.uint8).astype(np.int64)


def _digit_images() -> Iterator[Image.Image]:
    return (Image.fromarray((image * 15.9375).astype(np.uint8)).convert("RGB") for image in load_digits().images)


def _stamp_files() -> list[Path]:
    """Return the pictures without their mirror images, which are recognized by their suffix."""
    return sorted(f for f in STAMPS.rglob("*.png") if not f.stem.endswith(("_mirror", "_flip", "_mirror_flip")))


def _opened(file: Path) -> Image.Image:
    """Open a stamp on the product's gray background."""
    from labeling.images.open_image import open_image

    return open_image(file)


def _mobilenet() -> Encoder:
    return _encoder("mobilenet_v2")


def _joined() -> Encoder:
    """Return both encoders side by side, without components, which each split fits to its own sample."""
    encoder = _encoder("mobilenet_v2+hog")
    assert isinstance(encoder, JoinedEncoder)
    assert encoder.widths == (MOBILENET_DIM, HOG_DIM + COLOUR_DIM)
    return encoder


def _encoder(backend: str) -> Encoder:
    folder = os.environ.get("AL_WEIGHTS_DIR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return choose_encoder(backend, Path(folder) if folder else None)


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
