"""Compare substitutes for a missing frame: the item's other frames, zeros, or the mean of the frame's role.

    python -m benchmarks.missing_frames [--seeds 5] [--cache FOLDER]

Triplets are composed of pairs of images: the reference is one image, the target shows the other one on top of it, the
difference shows the other one alone, all with noise; the label is that of the other image. Each frame is encoded
separately. For outlier scores, a tenth of the items lack one frame, and should not be more than a tenth of the
outliers; for the assistive model, three tenths.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import CACHE, _fashion_images, _fashion_labels, _kept, _mobilenet
from modeling.algorithms.calibration import softmax
from modeling.algorithms.metrics import reliability
from modeling.algorithms.neighbors import knn_graph, project
from modeling.algorithms.train import train
from modeling.backends import Encoder
from modeling.backends.hog import HogEncoder
from modeling.backends.plugins import LoadedEncoder
from sampling.algorithms.outliers import isolation, local_outlier_factor

Floats = NDArray[np.float32]
N, N_LABELS, ROLES = 1797, 400, 3
LACKING_FOR_ODDITIES, LACKING_FOR_MODEL = 0.1, 0.3


# -- Triplets -----------------------------------------------------------------------------------------
def triplets(images: Floats, rng: np.random.Generator) -> Floats:
    """Return target, reference and difference, (n, 3, h, w) in 0 … 1, of images (n, h, w) in 0 … 1."""
    hosts = images[rng.permutation(len(images))]
    frames = np.stack([0.5 * hosts + 0.5 * images, 0.5 * hosts, 0.5 * images + 0.25], axis=1)
    return np.clip(frames + rng.normal(0, 0.05, frames.shape), 0, 1).astype(np.float32)


def digits(cache: Path) -> tuple[Floats, NDArray[np.int64]]:
    X, y = load_digits(return_X_y=True)
    frames = triplets(X.reshape(-1, 8, 8).astype(np.float32) / 16, np.random.default_rng(0))
    return frames.reshape(N, ROLES, -1), y.astype(np.int64)


def fashion(name: str, encoder: Callable[[], Encoder]) -> Callable[[Path], tuple[Floats, NDArray[np.int64]]]:
    def load(cache: Path) -> tuple[Floats, NDArray[np.int64]]:
        def images() -> list[Image.Image]:
            grays = [np.asarray(image.convert("L"), np.float32) / 255 for image in islice(_fashion_images(), N)]
            frames = triplets(np.stack(grays), np.random.default_rng(0)).reshape(-1, 28, 28)
            return [Image.fromarray(np.rint(255 * frame).astype(np.uint8)).convert("RGB") for frame in frames]

        vectors = _kept(cache / f"triplets-{name}.npy", images, encoder)
        return np.asarray(vectors, np.float32).reshape(N, ROLES, -1), _fashion_labels()[:N]

    return load


COLLECTIONS = {
    "digits, pixels": digits,
    "Fashion-MNIST, HOG": fashion("hog", lambda: LoadedEncoder(HogEncoder())),
    "Fashion-MNIST, MobileNetV2": fashion("mobilenet", _mobilenet),
}


# -- What stands for a frame ----------------------------------------------------------------------------
def own_mean(frames: Floats, lacks: NDArray[np.bool_]) -> Floats:
    there = ~lacks[..., None]
    means = (frames * there).sum(axis=1) / there.sum(axis=1)
    return np.where(lacks[..., None], means[:, None, :], frames)


def zeros(frames: Floats, lacks: NDArray[np.bool_]) -> Floats:
    return np.where(lacks[..., None], np.float32(0), frames)


def role_mean(frames: Floats, lacks: NDArray[np.bool_]) -> Floats:
    there = ~lacks[..., None]
    means = (frames * there).sum(axis=0) / there.sum(axis=0)
    return np.where(lacks[..., None], means[None], frames)


SUBSTITUTES = {"the item's other frames": own_mean, "zeros": zeros, "the mean of the role": role_mean}


def lacking(share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which frames are missing, bool (n, 3): one frame in a share of the items."""
    lacks = np.zeros((N, ROLES), np.bool_)
    items = rng.permutation(N)[: round(share * N)]
    lacks[items, rng.integers(0, ROLES, len(items))] = True
    return lacks


# -- Measures -----------------------------------------------------------------------------------------
def oddities(X: Floats, is_incomplete: NDArray[np.bool_], seed: int) -> list[float]:
    """Return the share of incomplete items in the top tenth by local outlier factor, and by isolation."""
    Z = project(X, rng=np.random.default_rng(seed))
    scores = (
        local_outlier_factor(knn_graph(Z, 20)),
        isolation(Z, rng=np.random.default_rng(seed)),
    )
    return [float(is_incomplete[np.argsort(-values)[: N // 10]].mean()) for values in scores]


def model(X: Floats, y: NDArray[np.int64], is_incomplete: NDArray[np.bool_], seed: int) -> list[float]:
    """Return accuracy on incomplete and complete unlabeled items, their log loss and calibration error."""
    order = np.random.default_rng(seed).permutation(N)
    labeled, others = order[:N_LABELS], order[N_LABELS:]
    trained = train(X[labeled], y[labeled], n_classes=10, seed=seed)
    p = softmax(X[others] @ trained.head.weights + trained.head.bias, trained.temperature)
    right, lacks = p.argmax(axis=1) == y[others], is_incomplete[others]
    losses = -np.log(np.maximum(p[np.arange(len(others)), y[others]], 1e-12))
    curve = reliability(p, y[others], n_bins=10)
    return [float(right[lacks].mean()), float(right[~lacks].mean()), float(losses.mean()), curve.error]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    print("in the top tenth (LOF, isolation); accuracy: incomplete, complete; log loss; calibration error")
    with threadpool_limits(1):
        for title, load in COLLECTIONS.items():
            frames, y = load(arguments.cache)
            print(f"\n{title}")
            for name, fill in SUBSTITUTES.items():
                results = []
                for seed in range(arguments.seeds):
                    few = lacking(LACKING_FOR_ODDITIES, np.random.default_rng(seed))
                    many = lacking(LACKING_FOR_MODEL, np.random.default_rng(100 + seed))
                    odd = oddities(fill(frames, few).reshape(N, -1), few.any(axis=1), seed)
                    results.append(odd + model(fill(frames, many).reshape(N, -1), y, many.any(axis=1), seed))
                mean = np.mean(results, axis=0)
                shares = "   ".join(f"{share:6.1%}" for share in mean[:4])
                print(f"  {name:24} {shares}   {mean[4]:.3f} {mean[5]:.3f}")


if __name__ == "__main__":
    main()
