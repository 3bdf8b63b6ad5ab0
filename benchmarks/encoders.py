"""Images a second of each encoder, against the plain way to do the same, in the same run.

    uv run --no-sync python -m benchmarks.encoders [--images 128] [--rounds 5]

HOG against a loop of ``skimage.feature.hog``; MobileNetV2 (where TensorFlow and its weights are at hand, see
AL_WEIGHTS_DIR) against ``keras.Model.predict`` with batches of 32. Every round times all parts one after the
other; printed are medians, and the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.feature

from modeling.backends import EncoderUnavailable, choose_encoder
from modeling.backends.encoder import Pixels
from modeling.backends.hog import hog, to_grey
from modeling.backends.mobilenet import locate_weights


def compare(name: str, ours: Callable[[], object], plain: Callable[[], object], images: int, rounds: int) -> None:
    ours(), plain()
    times = np.array([(seconds(ours), seconds(plain)) for _ in range(rounds)])
    fast, slow = images / np.median(times, axis=0)
    ratio = np.median(times[:, 1] / times[:, 0])
    print(f"{name}: {fast:,.0f} images/s against {slow:,.0f} images/s: {ratio:.1f} times as fast")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def noise(n: int, side: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def compare_hog(images: int, rounds: int) -> None:
    grey = to_grey(noise(images, 64))

    def plain() -> object:
        return [skimage.feature.hog(one, 9, (8, 8), (2, 2), block_norm="L2-Hys") for one in grey]

    compare("HOG / scikit-image one by one", lambda: hog(grey), plain, images, rounds)


def compare_mobilenet(images: int, rounds: int, weights_dir: Path | None) -> None:
    try:
        encoder = choose_encoder("tensorflow", weights_dir)
        weights, _ = locate_weights(weights_dir)
    except EncoderUnavailable as error:
        print(f"MobileNetV2: not measured. {error.message}. {error.hint}")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras

        model = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3), include_top=False, pooling="avg", weights=str(weights)
        )
    pixels = noise(images, 224)

    def plain() -> object:
        floats = keras.applications.mobilenet_v2.preprocess_input(pixels.astype(np.float32))
        return model.predict(floats, batch_size=32, verbose=0)

    name = "MobileNetV2 / Keras predict by 32"
    compare(name, lambda: encoder.encode_prepared(pixels), plain, images, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    weights_dir = os.environ.get("AL_WEIGHTS_DIR")
    compare_hog(arguments.images, arguments.rounds)
    compare_mobilenet(arguments.images, arguments.rounds, Path(weights_dir) if weights_dir else None)


if __name__ == "__main__":
    main()
