"""Networks with their ImageNet weights as Keras models, run by LiteRT, or by Keras where there is a GPU.

MobileNetV2 (Sandler et al., CVPR 2018), EfficientNetB0 (Tan and Le, ICML 2019), ResNet50 and ResNet18 (He et al., CVPR
2016); the head is left off and the last feature map averaged. TensorFlow is imported the first time, to freeze a
network, and not again.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends import gpu, resnet18, weights
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, file_sha256, fingerprint, one_line
from modeling.backends.litert import Network, Runner, frozen, kept, library
from modeling.backends.weights import WeightFile

PACKAGE = "tensorflow"
SIDE = 224
# Images decoded ahead together.
BATCH = 32
# What a broken installation or file has been seen to raise, beside ImportError.
BROKEN = (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class KerasNetwork:
    """One architecture: a ``function`` of keras.applications, or else ``make(keras, file)``.

    ``scaled(keras, pixels, model)`` turns 0 … 255 into what its weights were trained on.
    """

    backend: str
    weights: WeightFile
    function: str
    architecture: str
    normalisation: str
    scaled: Callable[[Any, Any, Any], Any]
    make: Callable[[Any, Path], Any] | None = None

    def build(self, keras: Any, file: Path) -> Any:
        """Return the network with the weights of a file."""
        if self.make is not None:
            return self.make(keras, file)
        application = getattr(keras.applications, self.function)
        model = application(input_shape=(SIDE, SIDE, 3), include_top=False, pooling="avg", weights=None)
        model.load_weights(str(file))
        return model

    @property
    def title(self) -> str:
        return self.weights.title


def _resnet18(keras: Any, file: Path) -> Any:
    return resnet18.resnet18(keras, file, SIDE)


def _to_one(keras: Any, pixels: Any, model: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)


# ImageNet's means and deviations of red, green and blue from 0 to 1.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _by_deviation(keras: Any, pixels: Any, model: Any) -> Any:
    """What Keras's own ImageNet weights of EfficientNet want.

    The network's first layers divide by the root of the deviation alone. Keras divides by the root once more only where
    it loads the weights itself (``weights="imagenet"``); here that comes before the network, around the same mean.
    """
    layer = next(one for one in model.layers if isinstance(one, keras.layers.Normalization))
    means = np.asarray(layer.mean).ravel().tolist()
    more = [1 / math.sqrt(deviation) for deviation in _DEVIATION]
    offset = [255 * mean * (1 - factor) for mean, factor in zip(means, more, strict=True)]
    return keras.layers.Rescaling(more, offset=offset)(pixels)


def _blue_first(keras: Any, pixels: Any, model: Any) -> Any:
    less = keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68])
    return less(keras.ops.flip(pixels, axis=-1))


def _standardized(keras: Any, pixels: Any, model: Any) -> Any:
    scales = [1 / (255 * deviation) for deviation in _DEVIATION]
    offsets = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    return keras.layers.Rescaling(scales, offset=offsets)(pixels)


MOBILENET_V2 = KerasNetwork(
    "mobilenet_v2",
    weights.MOBILENET_V2,
    "MobileNetV2",
    "mobilenet_v2_1.0_224 average",
    "x/127.5-1",
    _to_one,
)
EFFICIENTNET_B0 = KerasNetwork(
    "efficientnet_b0",
    weights.EFFICIENTNET_B0,
    "EfficientNetB0",
    "efficientnet_b0 average",
    "(x/255-mean)/deviation",
    _by_deviation,
)
RESNET50 = KerasNetwork("resnet50", weights.RESNET50, "ResNet50", "resnet50 average", "bgr - mean", _blue_first)
RESNET18 = KerasNetwork(
    "resnet18", weights.RESNET18, "", "resnet18 average", "(x/255-mean)/deviation", _standardized, make=_resnet18
)
NETWORKS = (MOBILENET_V2, EFFICIENTNET_B0, RESNET50, RESNET18)


class KerasEncoder(Encoder):
    """A network with the weights of a file; ``origin`` says in words where that was found."""

    input_side = SIDE
    batch_size = BATCH

    def __init__(self, network: KerasNetwork, file: Path, origin: str, graphs: Path | None = None) -> None:
        """``graphs`` is the folder in which the frozen network is kept; None freezes it anew."""
        self.name = network.title
        self.reason = f"{network.title} with ImageNet weights {origin}."
        sha256 = file_sha256(file)
        self._runner, by = self._on_gpu(network, file) or self._on_cores(network, file, sha256, graphs)
        self.dim = self._runner.dim
        self.fingerprint = fingerprint(
            architecture=network.architecture,
            weights=sha256,
            side=SIDE,
            resize="bilinear squash",
            normalisation=network.normalisation,
            library=by,
        )

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        # A finite image through finite weights; guarded because one NaN would spoil every later step.
        return np.nan_to_num(self._runner.run(pixels), copy=False)

    def _on_gpu(self, network: KerasNetwork, file: Path) -> tuple[Runner, str] | None:
        """Keras itself where TensorFlow sees a GPU; otherwise nothing, and mostly without importing it."""
        if not gpu.may_be_there():
            return None
        tensorflow, keras = import_tensorflow()
        if not gpu.sees(tensorflow):
            return None
        self.reason = f"{self.reason[:-1]}, on the GPU."
        self.batch_size = gpu.BATCH
        runner = gpu.KerasRunner(_model(network, keras, file))
        _require_finite(network, file, runner.run(_black()))
        return runner, "keras " + importlib.metadata.version("keras").split(".")[0]

    def _on_cores(self, network: KerasNetwork, file: Path, sha256: str, graphs: Path | None) -> tuple[Runner, str]:
        graph = kept(graphs, f"{network.backend}-{sha256[:16]}", lambda: _frozen(network, file))
        try:
            runner = Network(graph)
        except BROKEN as error:
            raise EncoderUnavailable(
                f"LiteRT could not run {network.title} ({one_line(error)})",
                f"{f'Delete {graphs}, which is made anew; or reinstall' if graphs else 'Reinstall'} ai-edge-litert, "
                "or choose another encoder (AL_EMBEDDING_BACKEND=hog).",
            ) from error
        if not runner.is_sound:
            raise _not_finite(network, file)
        return runner, library()


def is_installed() -> bool:
    """Is TensorFlow there to be imported? Looks without importing it."""
    return importlib.util.find_spec(PACKAGE) is not None


def require_tensorflow(title: str) -> None:
    if not is_installed():
        raise EncoderUnavailable(
            "TensorFlow is not installed", f"Install it to use {title}, or choose another encoder."
        )


def weights_at_hand(backend: str, weights_dir: Path | None) -> str:
    """Where the ImageNet weights of a network (``mobilenet_v2`` …) lie here, in words; downloads nothing.

    Raises
    ------
    EncoderUnavailable : they are not on this machine, and would have to be downloaded first.
    """
    network = next(one for one in NETWORKS if one.backend == backend)
    return weights.locate(network.weights, weights_dir, download=False)[1]


def import_tensorflow() -> tuple[Any, Any]:
    """TensorFlow and Keras, silent, and as Keras comes whatever ~/.keras/keras.json says.

    Raises
    ------
    EncoderUnavailable : they cannot be imported.
    """
    try:
        with quiet():
            return _import_tensorflow()
    except BROKEN as error:
        raise EncoderUnavailable(
            f"TensorFlow cannot be imported ({one_line(error)})",
            "Reinstall it, or choose another encoder (AL_EMBEDDING_BACKEND=hog).",
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Deprecation warnings of other people's packages are nothing that the reader of a job could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _import_tensorflow() -> tuple[Any, Any]:
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


def _frozen(network: KerasNetwork, file: Path) -> bytes:
    """The network with its weights as a LiteRT file: float32 (1, 224, 224, 3) of 0 … 255 -> (1, dim)."""
    tensorflow, keras = import_tensorflow()
    with quiet():
        return frozen(tensorflow, _model(network, keras, file, batch_size=1))


def _model(network: KerasNetwork, keras: Any, file: Path, *, batch_size: int | None = None) -> Any:
    """The network as a Keras model of pixels from 0 to 255."""
    with quiet():
        try:
            model = network.build(keras, file)
        except BROKEN as error:
            raise weights.damaged(network.weights, file, one_line(error)) from error
        pixels = keras.Input((SIDE, SIDE, 3), batch_size=batch_size)
        return keras.Model(pixels, model(network.scaled(keras, pixels, model), training=False))


def _black() -> Pixels:
    return np.zeros((1, SIDE, SIDE, 3), np.uint8)


def _require_finite(network: KerasNetwork, file: Path, vectors: FloatArray) -> None:
    if not np.isfinite(vectors).all():
        raise _not_finite(network, file)


def _not_finite(network: KerasNetwork, file: Path) -> EncoderUnavailable:
    return weights.damaged(network.weights, file, "it gives numbers that are not finite")
