"""Run networks trained on ImageNet, by LiteRT on CPUs, without TensorFlow, and by Keras on GPUs.

MobileNetV2 (Sandler et al., CVPR 2018), EfficientNetB0 and EfficientNet-Lite2 (Tan and Le, ICML 2019), ResNet50 and
ResNet18 (He et al., CVPR 2016), without the head; the last feature map is averaged.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends import efficientnet_b0, efficientnet_lite2, gpu, mobilenet_v2, resnet18, resnet50, weights
from modeling.backends.encoder import EncoderUnavailable, FloatArray, file_sha256, one_line
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.lite_graph import LiteGraph
from modeling.backends.litert import Network, Runner, library
from modeling.backends.plugins import ImageEncoder
from modeling.backends.weights import WeightFile

PACKAGE = "tensorflow"
# Number of images decoded in advance.
BATCH = 32
# Exceptions seen with broken installations or files, besides ImportError.
BROKEN = (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class KerasNetwork:
    """Define an architecture: ``averages(graph, file)`` describes the network with the weights of a file, from 0 … 255.

    Images are embedded as squares of ``side`` pixels.
    """

    backend: str
    weights: WeightFile
    architecture: str
    normalization: str
    averages: Callable[[LiteGraph | KerasGraph, Path], Any]
    side: int = 224

    def assembled(self, file: Path) -> bytes:
        """Return a LiteRT file: float32 (1, side, side, 3) to (1, dim). Raises EncoderUnavailable if it is damaged."""
        graph = LiteGraph(self.side)
        return graph.content(self._averages(graph, file))

    def keras_model(self, keras: Any, file: Path) -> Any:
        """Return the same as a Keras model."""
        graph = KerasGraph(keras, self.side)
        with quiet():
            return keras.Model(graph.image, self._averages(graph, file))

    def _averages(self, graph: LiteGraph | KerasGraph, file: Path) -> Any:
        try:
            return self.averages(graph, file)
        except BROKEN as error:
            raise weights.damaged(self.weights, file, one_line(error)) from error

    @property
    def title(self) -> str:
        return self.weights.title


MOBILENET_V2 = KerasNetwork(
    "mobilenet_v2", weights.MOBILENET_V2, "mobilenet_v2_1.0_224 average", "x/127.5-1", mobilenet_v2.averages,
)  # fmt: skip
EFFICIENTNET_B0 = KerasNetwork(
    "efficientnet_b0", weights.EFFICIENTNET_B0, "efficientnet_b0 average", "(x/255-mean)/deviation",
    efficientnet_b0.averages,
)  # fmt: skip
RESNET50 = KerasNetwork(
    "resnet50", weights.RESNET50, "resnet50 average", "bgr - mean", resnet50.averages,
)  # fmt: skip
RESNET18 = KerasNetwork("resnet18", weights.RESNET18, "resnet18 average", "(x/255-mean)/deviation", resnet18.averages)
EFFICIENTNET_LITE2 = KerasNetwork(
    "efficientnet_lite2", weights.EFFICIENTNET_LITE2, "efficientnet_lite2 average", "(x-127)/128",
    efficientnet_lite2.averages, side=efficientnet_lite2.SIDE,
)  # fmt: skip
NETWORKS = (MOBILENET_V2, EFFICIENTNET_B0, EFFICIENTNET_LITE2, RESNET50, RESNET18)


class KerasEncoder(ImageEncoder):
    """Represent a network with published weights."""

    network: ClassVar[KerasNetwork]
    license = "Apache-2.0"
    dim = 1280
    batch_size = BATCH
    is_thread_safe = True
    _source = ""

    def check(self) -> str:
        weights.locate(self.network.weights, self.weights_dir, download=False)
        return ""

    def source(self) -> str:
        return self._source or f"Weights {weights.locate(self.network.weights, self.weights_dir, download=False)[1]}."

    def load(self) -> None:
        file, origin = weights.locate(self.network.weights, self.weights_dir)
        self._source = f"{self.title} with ImageNet weights {origin}."
        self._sha256 = file_sha256(file)
        self._runner, self._library = self._on_gpu(file) or self._on_cores(file)

    def facts(self) -> dict[str, str | int | float]:
        return {
            "architecture": self.network.architecture,
            "weights": self._sha256,
            "side": self.input_size,
            "resize": "bilinear squash",
            "normalisation": self.network.normalization,
            "library": self._library,
        }

    def encode(self, batch: Pixels) -> FloatArray:
        return self._runner.run(batch)

    def _on_gpu(self, file: Path) -> tuple[Runner, str] | None:
        """Return a Keras runner if TensorFlow sees a GPU, else None, usually without importing TensorFlow."""
        if not gpu.is_possible():
            return None
        tensorflow, keras = import_tensorflow()
        if not gpu.is_available(tensorflow):
            return None
        self._source = f"{self._source[:-1]}, on the GPU."
        self.batch_size = gpu.BATCH
        runner = gpu.KerasRunner(self.network.keras_model(keras, file))
        if not np.isfinite(runner.run(np.zeros((1, self.input_size, self.input_size, 3), np.uint8))).all():
            raise _not_finite(self.network, file)
        return runner, "keras " + importlib.metadata.version("keras").split(".")[0]

    def _on_cores(self, file: Path) -> tuple[Runner, str]:
        graph = self.network.assembled(file)
        try:
            runner = Network(graph)
        except BROKEN as error:
            raise EncoderUnavailable(
                f"LiteRT could not run {self.title} ({one_line(error)})",
                "Reinstall ai-edge-litert, or choose another encoder (AL_EMBEDDING_BACKEND=hog).",
            ) from error
        if not runner.is_sound:
            raise _not_finite(self.network, file)
        return runner, library()


class MobileNetV2(KerasEncoder):
    """Represent the smallest of these networks."""

    network, title = MOBILENET_V2, MOBILENET_V2.title
    about = "Small and fast, trained on a million photos."


class EfficientNetB0(KerasEncoder):
    """Represent a network of medium size."""

    network, title = EFFICIENTNET_B0, EFFICIENTNET_B0.title
    about = "Trained on the same photos, with finer distinctions; half as fast."


class EfficientNetLite2(KerasEncoder):
    """Represent a network of medium size for larger images."""

    network, title, input_size = EFFICIENTNET_LITE2, EFFICIENTNET_LITE2.title, EFFICIENTNET_LITE2.side
    license = ""  # the package does not say
    about = "Trained on the same photos; sees larger images, and separates classes better. Several times slower."


class ResNet50(KerasEncoder):
    """Represent the largest of these networks."""

    network, title, dim, license = RESNET50, RESNET50.title, 2048, "MIT"
    about = "Large, trained on the same photos; several times slower."


class ResNet18(KerasEncoder):
    """Represent a network of torchvision."""

    network, title, dim, license = RESNET18, RESNET18.title, 512, "BSD-3-Clause"
    about = "torchvision's small network, trained on the same photos."


def is_installed() -> bool:
    """Return whether TensorFlow is installed, without importing it."""
    return importlib.util.find_spec(PACKAGE) is not None


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


def _not_finite(network: KerasNetwork, file: Path) -> EncoderUnavailable:
    return weights.damaged(network.weights, file, "its output is not finite")
