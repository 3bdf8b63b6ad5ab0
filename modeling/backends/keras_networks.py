"""Run ImageNet networks built with Keras, by LiteRT on CPUs and by Keras on GPUs.

MobileNetV2 (Sandler et al., CVPR 2018), EfficientNetB0 and EfficientNet-Lite2 (Tan and Le, ICML 2019), ResNet50 and
ResNet18 (He et al., CVPR 2016), without the head; the last feature map is averaged. On CPUs TensorFlow is needed only
for EfficientNetB0 and the ResNets, once, to freeze the network.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends import efficientnet_lite2, gpu, mobilenet_v2, resnet18, weights
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, file_sha256, fingerprint, one_line
from modeling.backends.litert import Network, Runner, cached, frozen, library
from modeling.backends.model_client import freeze_network
from modeling.backends.weights import WeightFile

PACKAGE = "tensorflow"
# Number of images decoded in advance.
BATCH = 32
# Exceptions seen with broken installations or files, besides ImportError.
BROKEN = (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class KerasNetwork:
    """An architecture: a ``function`` of keras.applications, or else ``make(keras, file, side)``.

    ``scaled(keras, pixels, model)`` converts 0 … 255 to the range on which its weights were trained. Images are
    embedded as squares of ``side`` pixels. ``assemble(file, side)`` makes the LiteRT file without TensorFlow.
    """

    backend: str
    weights: WeightFile
    function: str
    architecture: str
    normalization: str
    scaled: Callable[[Any, Any, Any], Any]
    make: Callable[[Any, Any, int], Any] | None = None
    side: int = 224
    assemble: Callable[[Path, int], bytes] | None = None

    def build(self, keras: Any, file: Path | None, side: int) -> Any:
        """Return the network for images of ``side`` pixels with the weights of a file; None initializes it randomly.

        Raises
        ------
        EncoderUnavailable
            If the file is damaged.
        """
        try:
            if self.make is not None:
                return self.make(keras, file, side)
            application = getattr(keras.applications, self.function)
            model = application(input_shape=(side, side, 3), include_top=False, pooling="avg", weights=None)
            if file is not None:
                model.load_weights(str(file))
            return model
        except BROKEN as error:
            if file is None:
                raise
            raise weights.damaged(self.weights, file, one_line(error)) from error

    @property
    def title(self) -> str:
        return self.weights.title


def _scale_to_one(keras: Any, pixels: Any, model: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)


def _scale_around_127(keras: Any, pixels: Any, model: Any) -> Any:
    return keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)


# ImageNet means and standard deviations of red, green and blue in 0 … 1.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _scale_for_efficientnet(keras: Any, pixels: Any, model: Any) -> Any:
    """Scale pixels for the ImageNet weights of Keras's EfficientNet.

    The first layers of the network divide by the square root of the deviation only. Keras adds the second division by
    it only if it loads the weights itself (``weights="imagenet"``). Here it is applied before the network, around the
    same mean.
    """
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    means = np.asarray(layer.mean).ravel().tolist()
    factors = [1 / math.sqrt(deviation) for deviation in _DEVIATION]
    offset = [255 * mean * (1 - factor) for mean, factor in zip(means, factors, strict=True)]
    return keras.layers.Rescaling(factors, offset=offset)(pixels)


def _scale_for_resnet50(keras: Any, pixels: Any, model: Any) -> Any:
    less = keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68])
    return less(keras.ops.flip(pixels, axis=-1))


def _standardize(keras: Any, pixels: Any, model: Any) -> Any:
    scales = [1 / (255 * deviation) for deviation in _DEVIATION]
    offsets = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    return keras.layers.Rescaling(scales, offset=offsets)(pixels)


MOBILENET_V2 = KerasNetwork(
    "mobilenet_v2", weights.MOBILENET_V2, "MobileNetV2", "mobilenet_v2_1.0_224 average", "x/127.5-1", _scale_to_one,
    assemble=mobilenet_v2.assembled,
)  # fmt: skip
EFFICIENTNET_B0 = KerasNetwork(
    "efficientnet_b0", weights.EFFICIENTNET_B0, "EfficientNetB0", "efficientnet_b0 average", "(x/255-mean)/deviation",
    _scale_for_efficientnet,
)  # fmt: skip
RESNET50 = KerasNetwork("resnet50", weights.RESNET50, "ResNet50", "resnet50 average", "bgr - mean", _scale_for_resnet50)
RESNET18 = KerasNetwork(
    "resnet18", weights.RESNET18, "", "resnet18 average", "(x/255-mean)/deviation", _standardize,
    make=resnet18.resnet18,
)  # fmt: skip
EFFICIENTNET_LITE2 = KerasNetwork(
    "efficientnet_lite2", weights.EFFICIENTNET_LITE2, "", "efficientnet_lite2 average", "(x-127)/128",
    _scale_around_127, make=efficientnet_lite2.efficientnet_lite2, side=efficientnet_lite2.SIDE,
    assemble=efficientnet_lite2.assembled,
)  # fmt: skip
NETWORKS = (MOBILENET_V2, EFFICIENTNET_B0, EFFICIENTNET_LITE2, RESNET50, RESNET18)


class KerasEncoder(Encoder):
    """A network with the weights of a file; ``origin`` says where the file was found."""

    batch_size = BATCH

    def __init__(self, network: KerasNetwork, file: Path, origin: str, graphs: Path | None = None) -> None:
        """Load or freeze the network. ``graphs`` is the cache of frozen networks; None freezes it each time."""
        self.name, self.input_side = network.title, network.side
        self.reason = f"{network.title} with ImageNet weights {origin}."
        sha256 = file_sha256(file)
        self._runner, library_name = self._on_gpu(network, file) or self._on_cores(network, file, sha256, graphs)
        self.dim = self._runner.dim
        self.fingerprint = fingerprint(
            architecture=network.architecture,
            weights=sha256,
            side=network.side,
            resize="bilinear squash",
            normalisation=network.normalization,
            library=library_name,
        )

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        # Images and weights are finite; this is a safeguard, because one NaN would corrupt every later step.
        return np.nan_to_num(self._runner.run(pixels), copy=False)

    def _on_gpu(self, network: KerasNetwork, file: Path) -> tuple[Runner, str] | None:
        """Return a Keras runner if TensorFlow sees a GPU, else None, usually without importing TensorFlow."""
        if not gpu.is_possible():
            return None
        tensorflow, keras = import_tensorflow()
        if not gpu.is_available(tensorflow):
            return None
        self.reason = f"{self.reason[:-1]}, on the GPU."
        self.batch_size = gpu.BATCH
        runner = gpu.KerasRunner(_model(network, keras, file))
        if not np.isfinite(runner.run(np.zeros((1, network.side, network.side, 3), np.uint8))).all():
            raise _not_finite(network, file)
        return runner, "keras " + importlib.metadata.version("keras").split(".")[0]

    def _on_cores(self, network: KerasNetwork, file: Path, sha256: str, graphs: Path | None) -> tuple[Runner, str]:
        graph = _graph_of(network, file, sha256, graphs)
        try:
            runner = Network(graph)
        except BROKEN as error:
            raise EncoderUnavailable(
                f"LiteRT could not run {network.title} ({one_line(error)})",
                f"{f'Delete {graphs}, which is rebuilt, or reinstall' if graphs else 'Reinstall'} ai-edge-litert, "
                "or choose another encoder (AL_EMBEDDING_BACKEND=hog).",
            ) from error
        if not runner.is_sound:
            raise _not_finite(network, file)
        return runner, library()


def _graph_of(network: KerasNetwork, file: Path, sha256: str, graphs: Path | None) -> bytes:
    """Return the network as a LiteRT file, assembled or frozen."""
    if network.assemble is None:
        name = f"{network.backend}-{sha256[:16]}"
        return cached(graphs, name, lambda: freeze_network(network.title, network.backend, file))
    try:
        return network.assemble(file, network.side)
    except BROKEN as error:
        raise weights.damaged(network.weights, file, one_line(error)) from error


def is_installed() -> bool:
    """Return whether TensorFlow is installed, without importing it."""
    return importlib.util.find_spec(PACKAGE) is not None


def require_libraries(network: KerasNetwork) -> None:
    """Raise EncoderUnavailable if the network needs TensorFlow, and it is not installed."""
    if network.assemble is None:
        require_tensorflow(network.title)


def require_tensorflow(title: str) -> None:
    if not is_installed():
        raise EncoderUnavailable(
            "TensorFlow is not installed", f"Install it to use {title}, or choose another encoder."
        )


def import_tensorflow() -> tuple[Any, Any]:
    """Import TensorFlow and Keras silently, with Keras's default settings whatever ~/.keras/keras.json says.

    Raises
    ------
    EncoderUnavailable
        If they cannot be imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with quiet():
            import keras
            import tensorflow

            if keras.config.backend() != "tensorflow":
                raise RuntimeError(f"Keras already runs on {keras.config.backend()} in this process")
            keras.config.set_image_data_format("channels_last")
            keras.config.set_floatx("float32")
            tensorflow.get_logger().setLevel("ERROR")
            return tensorflow, keras
    except BROKEN as error:
        raise EncoderUnavailable(
            f"TensorFlow cannot be imported ({one_line(error)})",
            "Reinstall it, or choose another encoder (AL_EMBEDDING_BACKEND=hog).",
        ) from error


def quiet() -> AbstractContextManager[object]:
    """Suppress warnings of other packages, which users cannot act on."""
    return warnings.catch_warnings(action="ignore")


def frozen_network(network: KerasNetwork, file: Path) -> bytes:
    """Freeze the network with its weights to a LiteRT file: float32 (1, side, side, 3) in 0 … 255 to (1, dim)."""
    tensorflow, keras = import_tensorflow()
    with quiet():
        return frozen(tensorflow, _model(network, keras, file, batch_size=1))


def _model(network: KerasNetwork, keras: Any, file: Path, *, batch_size: int | None = None) -> Any:
    """Return the network as a Keras model of pixels from 0 to 255."""
    with quiet():
        model = network.build(keras, file, network.side)
        pixels = keras.Input((network.side, network.side, 3), batch_size=batch_size)
        return keras.Model(pixels, model(network.scaled(keras, pixels, model), training=False))


def _not_finite(network: KerasNetwork, file: Path) -> EncoderUnavailable:
    return weights.damaged(network.weights, file, "its output is not finite")
