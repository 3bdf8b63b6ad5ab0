"""MobileNetV2 with Keras's ImageNet weights, run by LiteRT: 224 x 224 pixels -> 1280 numbers.

Sandler et al. (2018), "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR; the head is left off
and the last feature map averaged. TensorFlow is imported the first time, to freeze the network, and not again.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import logging
import os
import queue
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modeling.backends.encoder import (
    Encoder,
    EncoderUnavailable,
    FloatArray,
    Pixels,
    file_sha256,
    fingerprint,
)
from modeling.backends.litert import Network, frozen, kept

log = logging.getLogger(__name__)

PACKAGE = "tensorflow"
SIDE = 224
DIM = 1280
# Images decoded ahead together.
BATCH = 32
WEIGHTS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
WEIGHTS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/" + WEIGHTS_FILE
CONNECT_SECONDS = 5.0
DOWNLOAD_SECONDS = 180.0
# What a broken installation or file has been seen to raise, beside ImportError.
_BROKEN = (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


class MobileNetEncoder(Encoder):
    """The network with the weights of a file; ``origin`` says in words where that was found."""

    name = "MobileNetV2"
    dim = DIM
    input_side = SIDE
    decode_side = 2 * SIDE
    batch_size = BATCH

    def __init__(self, weights: Path, origin: str, graphs: Path | None = None) -> None:
        """``graphs`` is the folder in which the frozen network is kept; None freezes it anew."""
        self.reason = f"MobileNetV2 with ImageNet weights {origin}."
        sha256 = file_sha256(weights)
        graph = kept(graphs, f"mobilenet_v2-{sha256[:16]}", lambda: _frozen(weights))
        try:
            self._network = Network(graph)
            sound = np.isfinite(self._network.run(np.zeros((1, SIDE, SIDE, 3), np.uint8))).all()
        except _BROKEN as error:
            raise EncoderUnavailable(
                f"LiteRT could not run MobileNetV2 ({_one_line(error)})",
                f"{f'Delete {graphs}, which is made anew; or reinstall' if graphs else 'Reinstall'} ai-edge-litert, "
                "or set AL_EMBEDDING_BACKEND=hog.",
            ) from error
        if not sound:
            raise _bad_weights(weights, "it gives numbers that are not finite")
        self.fingerprint = fingerprint(
            architecture="mobilenet_v2_1.0_224 average",
            weights=sha256,
            side=SIDE,
            resize="bilinear squash",
            normalisation="x/127.5-1",
            library="litert " + importlib.metadata.version("ai-edge-litert").split(".")[0],
        )

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        # A finite image through finite weights; guarded because one NaN would spoil every later step.
        return np.nan_to_num(self._network.run(pixels), copy=False)


def is_installed() -> bool:
    """Is TensorFlow there to be imported? Looks without importing it."""
    return importlib.util.find_spec(PACKAGE) is not None


def locate_weights(weights_dir: Path | None, *, download: bool = True) -> tuple[Path, str]:
    """The weight file and where it was found, in words: AL_WEIGHTS_DIR, Keras's cache, or its download."""
    if weights_dir is not None and (weights_dir / WEIGHTS_FILE).is_file():
        return weights_dir / WEIGHTS_FILE, "from AL_WEIGHTS_DIR"
    cached = keras_cache() / WEIGHTS_FILE
    if cached.is_file():
        return cached, "from Keras's cache"
    hint = f"Put {WEIGHTS_FILE} in AL_WEIGHTS_DIR to use it."
    if not download:
        raise EncoderUnavailable("MobileNetV2's weights are not on this machine", hint)
    try:
        _download(WEIGHTS_URL, cached)
    except (OSError, http.client.HTTPException) as error:
        raise EncoderUnavailable(f"MobileNetV2's weights could not be downloaded ({_one_line(error)})", hint) from error
    return cached, "downloaded by Keras's address"


def keras_cache() -> Path:
    """Where Keras keeps downloaded weights: ``$KERAS_HOME/models``, else ``~/.keras/models``."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~").expanduser() / ".keras") / "models"


def _download(url: str, target: Path) -> None:
    """Fetch ``url`` to ``target``, whole or not at all; gives up after seconds where there is no network."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    target.parent.mkdir(parents=True, exist_ok=True)
    with _connect(url) as answer:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                while block := answer.read(1 << 18):
                    stream.write(block)
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"not finished within {DOWNLOAD_SECONDS:.0f} s")
            expected = answer.headers.get("Content-Length")
            if expected is not None and part.stat().st_size != int(expected):
                raise OSError(f"got {part.stat().st_size} of {expected} bytes")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _connect(url: str) -> http.client.HTTPResponse:
    """Open ``url`` within CONNECT_SECONDS.

    In a thread of its own, because looking up a name knows no time limit and may take minutes offline.
    """
    answers: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))  # noqa: S310 (a fixed https address)
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_SECONDS + 1)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _frozen(weights: Path) -> bytes:
    """The network with its weights as a LiteRT file: float32 (1, 224, 224, 3) of 0 … 255 -> (1, 1280)."""
    try:
        with _quiet():
            tensorflow, keras = _import_tensorflow()
    except _BROKEN as error:
        raise EncoderUnavailable(
            f"TensorFlow cannot be imported ({_one_line(error)})",
            "Reinstall it, or set AL_EMBEDDING_BACKEND=hog.",
        ) from error
    with _quiet():
        model = keras.applications.MobileNetV2(
            input_shape=(SIDE, SIDE, 3), include_top=False, pooling="avg", weights=None
        )
        try:
            model.load_weights(str(weights))
        except _BROKEN as error:
            raise _bad_weights(weights, _one_line(error)) from error
        pixels = keras.Input((SIDE, SIDE, 3), batch_size=1)
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
        return frozen(tensorflow, keras.Model(pixels, model(scaled, training=False)))


def _import_tensorflow() -> tuple[Any, Any]:
    """TensorFlow and Keras, silent, and as Keras comes whatever ~/.keras/keras.json says."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(f"Keras already runs on {keras.config.backend()} in this process")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow, keras


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Deprecation warnings of other people's packages are nothing that the reader of a job could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _bad_weights(weights: Path, why: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"MobileNetV2's weight file {weights} is damaged or of another kind ({why})",
        f"Delete it, or replace it by a whole {WEIGHTS_FILE}.",
    )


def _one_line(error: BaseException) -> str:
    """An error's own words, on one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"
