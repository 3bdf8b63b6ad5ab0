"""Time encoders against the simple way and the pipeline against its parts, and measure the vectors' accuracy.

    python -m benchmarks.encoders [speed] [pipeline] [accuracy] [held-out] [--images 128] [--rounds 5]

*speed*: HOG against a loop of ``skimage.feature.hog``; MobileNetV2 (if TensorFlow and its weights are available, see
AL_WEIGHTS_DIR) against ``keras.Model.predict`` with batches of 32, and the minimum cosine between their vectors; the
encoders without weights alone. *pipeline*: image files to vectors, against decoding alone and the network alone on the
same images. Every round times all parts in turn; prints medians, and a ratio is the median of the rounds' ratios. CPU
time counts all threads; on a shared machine it is more informative than wall time. *accuracy*: five-fold logistic
regression on scikit-learn's digits, 2,000 images of Fashion-MNIST and Tux Paint's stamps by folder; fastest with
OMP_NUM_THREADS=1 on a shared machine. *held-out*: the product's classifier, trained on 2,000 random training images of
Fashion-MNIST and measured on its 10,000 test images, with three seeds. Without arguments, runs the first two.
"""

from __future__ import annotations

import argparse
import gzip
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import skimage.feature
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from labeling.images.encoder_inputs import Pixels
from modeling.backends import Encoder, EncoderUnavailable, choose_encoder
from modeling.backends.encoder import FloatArray
from modeling.backends.hog import HogEncoder, hog, to_grey
from modeling.backends.hog_scattering import HogScatteringEncoder
from modeling.backends.keras_networks import import_tensorflow, quiet
from modeling.backends.litert import n_cores
from modeling.backends.plugins import LoadedEncoder
from modeling.backends.scattering import PatchesEncoder
from modeling.backends.weights import MOBILENET_V2, locate

Work = Callable[[], object]


def seconds(work: Work) -> tuple[float, float]:
    """Return wall time and the CPU time of all threads."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def timed(parts: list[Work], rounds: int) -> NDArray[np.float64]:
    """Return seconds (rounds, parts, 2); each part runs once untimed first."""
    for work in parts:
        work()
    return np.array([[seconds(work) for work in parts] for _ in range(rounds)])


def noise(n: int, side: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


# -- Speed -------------------------------------------------------------------------------------------
def compare(name: str, ours: Work, plain: Work, images: int, rounds: int) -> None:
    times = timed([ours, plain], rounds)
    fast, slow = images / np.median(times[:, :, 0], axis=0)
    ratios = times[:, 1] / times[:, 0]
    clock, processor = np.median(ratios, axis=0)
    print(
        f"{name}: {fast:,.0f} against {slow:,.0f} images/s: {clock:.1f} times as fast "
        f"({ratios[:, 0].min():.1f} to {ratios[:, 0].max():.1f}), {processor:.1f} times less CPU time",
        flush=True,
    )


def speed(images: int, rounds: int, weights_dir: Path | None) -> None:
    grey = to_grey(noise(images, 64))

    def plain() -> object:
        return [skimage.feature.hog(image, 9, (8, 8), (2, 2), block_norm="L2-Hys") for image in grey]

    compare("HOG / scikit-image one by one", lambda: hog(grey), plain, images, rounds)
    for encoder in map(LoadedEncoder, (PatchesEncoder(), HogScatteringEncoder(), HogEncoder())):
        encode = partial(encoder.encode_prepared, noise(images, encoder.input_side))
        times = timed([encode], rounds)
        print(f"{encoder.name}: {images / np.median(times[:, :, 0]):,.0f} images/s", flush=True)
    compare_mobilenet(images, rounds, weights_dir)


def compare_mobilenet(images: int, rounds: int, weights_dir: Path | None) -> None:
    try:
        encoder = choose_encoder("mobilenet_v2", weights_dir)
        weights, _ = locate(MOBILENET_V2, weights_dir)
    except EncoderUnavailable as error:
        print(f"MobileNetV2: not measured. {error.message}. {error.hint}")
        return
    _, keras = import_tensorflow()
    with quiet():
        model = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3), include_top=False, pooling="avg", weights=str(weights)
        )
    pixels = noise(images, 224)

    def plain() -> Any:
        floats = keras.applications.mobilenet_v2.preprocess_input(pixels.astype(np.float32))
        return model.predict(floats, batch_size=32, verbose=0)

    a, b = encoder.encode_prepared(pixels), plain()
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"MobileNetV2: the minimum cosine to Keras's vectors is {cosines.min():.7f}")
    name = "MobileNetV2 / Keras predict by 32"
    compare(name, lambda: encoder.encode_prepared(pixels), plain, images, rounds)


# -- Pipeline ----------------------------------------------------------------------------------------
def pipeline(images: int, rounds: int, weights_dir: Path | None) -> None:
    """Run end to end on JPEG files of three sizes, with the best available encoder."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    import django

    django.setup()
    for encoder in (choose_encoder("mobilenet_v2", weights_dir), choose_encoder("auto", weights_dir)):
        for width in (320, 640, 1600):
            with tempfile.TemporaryDirectory(prefix="hoshina-encoders-") as folder:
                time_pipeline(encoder, photos(Path(folder), images, width), width, rounds)


def time_pipeline(encoder: Encoder, files: list[Path], width: int, rounds: int) -> None:
    from labeling.images.open_image import open_for_resizing
    from modeling.encoders.frames import encode_files

    def read(file: Path) -> Pixels:
        return encoder.prepare(open_for_resizing(file, encoder.decode_side))

    pixels = np.stack([read(file) for file in files])

    def decode() -> object:
        with ThreadPoolExecutor(min(8, n_cores())) as pool:
            return list(pool.map(read, files))

    parts: list[Work] = [
        decode,
        lambda: encoder.encode_prepared(pixels),
        lambda: encode_files(encoder, files, lambda n: None),
        lambda: encode_stored(encoder, files, pixels),
    ]
    times = timed(parts, rounds)
    name = f"{encoder.name}, JPEG {width} x {width * 3 // 4}"
    print_pipeline(f"{name}: ", times[:, :3], len(files))
    nothing = np.zeros_like(times[:, :1])
    print_pipeline(f"{name}, read by an ingest: ", np.concatenate([nothing, times[:, [1, 3]]], axis=1), len(files))


def print_pipeline(name: str, times: NDArray[np.float64], n: int) -> None:
    """Print rates and ratios of decoding, network and both: seconds and CPU seconds (rounds, 3, 2)."""
    seconds_each, cpu_each = times[..., 0], times[..., 1]
    rates = [f"{n / median:,.0f}" if median else "-" for median in np.median(seconds_each, axis=0)]
    share = np.median(seconds_each[:, :2].max(axis=1) / seconds_each[:, 2])
    # Both parts use all cores, so together they need at least their CPU time, divided by the cores.
    needed = cpu_each[:, :2].sum(axis=1)
    possible = np.median(cpu_each[:, :2].max(axis=1) / needed)
    limit = np.median(needed / n_cores() / seconds_each[:, 2])
    extra = np.median(cpu_each[:, 2] / needed) - 1
    milliseconds = np.median(cpu_each, axis=0) / n * 1e3
    print(
        f"{name}decoding {rates[0]}, network {rates[1]}, both {rates[2]} images/s: {share:.2f} of the slower part "
        f"({possible:.2f} is possible), {limit:.2f} of what {n_cores()} cores allow. CPU time per image "
        f"{milliseconds[0]:.2f}, {milliseconds[1]:.2f} and {milliseconds[2]:.2f} ms ({extra:+.1%})",
        flush=True,
    )


def encode_stored(encoder: Encoder, files: list[Path], pixels: Pixels) -> object:
    """Encode images whose squares an ingest stored."""
    from labeling.images.encoder_inputs import Squares
    from modeling.encoders.frames import Pictured, encode_items
    from modeling.encoders.input_spec import InputSpec

    folder = files[0].parent
    squares = Squares(folder / "squares", encoder.input_side)
    hashes = [f"{number:064x}" for number in range(len(files))]
    if not squares.folder.is_dir():
        for sha256, square in zip(hashes, pixels, strict=True):
            squares.keep(Image.fromarray(square), sha256)
    items = [
        Pictured(row, 1, {"": file.name}, {"": sha256})
        for row, (file, sha256) in enumerate(zip(files, hashes, strict=True))
    ]
    return encode_items(encoder, items, folder, InputSpec(), lambda n: None, squares)


def photos(folder: Path, n: int, width: int) -> list[Path]:
    """Write JPEG files with shapes and grain, about as large on disk as photographs."""
    rng = np.random.default_rng(1)
    files = []
    for number in range(n):
        shapes = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, width * 3 // 4))
        grain = Image.fromarray(rng.integers(0, 256, (width * 3 // 4, width, 3), dtype=np.uint8))
        photo = Image.blend(shapes, grain.filter(ImageFilter.GaussianBlur(1)), 0.2)
        files.append(folder / f"{number}.jpg")
        photo.save(files[-1], quality=88)
    return files


# -- Accuracy ----------------------------------------------------------------------------------------
def accuracy(weights_dir: Path | None) -> None:
    """Print one line per collection and encoder."""
    encoders = _compared(weights_dir)
    for name, images, labels in collections():
        for encoder in encoders:
            X = encode_all(encoder, images())
            print(f"{name}: {encoder.name} ({encoder.dim:,} dimensions) {five_fold(X, labels):.3f}", flush=True)


def held_out(weights_dir: Path | None, seeds: int = 3) -> None:
    """Print one line per encoder: the product's classifier, trained on 2,000 images, tested on 10,000 others."""
    from benchmarks.label_efficiency.data import FASHION
    from modeling.algorithms.head import predict_in_blocks
    from modeling.algorithms.train import train

    pixels = {
        part: _idx(FASHION / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for part in ("train", "t10k")
    }
    labels = {part: _idx(FASHION / f"{part}-labels-idx1-ubyte.gz", 8).astype(np.int64) for part in ("train", "t10k")}
    chosen = [np.random.default_rng(seed).choice(60_000, 2000, replace=False) for seed in range(seeds)]
    for encoder in _compared(weights_dir):
        X = encode_all(encoder, (Image.fromarray(image) for image in pixels["t10k"]))
        accuracies = []
        for rows in chosen:
            training_vectors = encode_all(encoder, (Image.fromarray(image) for image in pixels["train"][rows]))
            trained = train(training_vectors, labels["train"][rows], n_classes=10)
            probabilities = np.empty((len(X), 10), np.float32)
            predict_in_blocks(X, trained.head, trained.calibration, probabilities)
            accuracies.append(float((probabilities.argmax(axis=1) == labels["t10k"]).mean()))
        each = ", ".join(f"{value:.4f}" for value in accuracies)
        print(f"Fashion-MNIST, 2,000 labels: {encoder.name} {np.mean(accuracies):.4f} ({each})", flush=True)


def _idx(file: Path, offset: int) -> Pixels:
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=offset)


def _compared(weights_dir: Path | None) -> list[Encoder]:
    encoders: list[Encoder] = [*map(LoadedEncoder, (HogEncoder(), PatchesEncoder(), HogScatteringEncoder()))]
    try:
        encoders.append(choose_encoder("mobilenet_v2", weights_dir))
    except EncoderUnavailable as error:
        print(f"MobileNetV2: not measured. {error.message}. {error.hint}")
    return encoders


def collections() -> Iterator[tuple[str, Callable[[], Iterator[Image.Image]], NDArray[np.int64]]]:
    from sklearn.datasets import load_digits

    from benchmarks.label_efficiency.data import _fashion_images, _fashion_labels, _opened, stamp_classes

    digits = load_digits()
    yield "digits", lambda: (Image.fromarray((digit * 15.9).astype(np.uint8)) for digit in digits.images), digits.target
    yield "Fashion-MNIST, 2,000", lambda: islice(_fashion_images(), 2000), _fashion_labels()[:2000]
    files, labels = stamp_classes()
    if not files:  # Debian: tuxpaint-stamps-default
        return
    yield f"Tux Paint, {len(files)} stamps", lambda: map(_opened, files), labels


def encode_all(encoder: Encoder, images: Iterator[Image.Image]) -> FloatArray:
    parts = []
    while batch := list(islice(images, 64)):
        parts.append(encoder.encode(batch))
    return np.concatenate(parts)


def five_fold(X: FloatArray, labels: NDArray[np.int64]) -> float:
    """Return the accuracy of logistic regression on standardized vectors, with the best of three penalties."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracies = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for C in (1e-3, 1e-2, 1e-1):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=200))
            accuracies.append(cross_val_score(model, X, labels, cv=folds).mean())
    return float(max(accuracies))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=["speed", "pipeline", "accuracy", "held-out", []], default=["speed", "pipeline"]
    )
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folder = os.environ.get("AL_WEIGHTS_DIR")
    weights_dir = Path(folder) if folder else None
    if "speed" in arguments.parts:
        speed(arguments.images, arguments.rounds, weights_dir)
    if "pipeline" in arguments.parts:
        pipeline(arguments.images, arguments.rounds, weights_dir)
    if "accuracy" in arguments.parts:
        accuracy(weights_dir)
    if "held-out" in arguments.parts:
        held_out(weights_dir)


if __name__ == "__main__":
    main()
