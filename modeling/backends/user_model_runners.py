"""Opens a person's model file of any format: what it takes, and how to run it, one image at a time on each core."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.images.encoder_inputs import Pixels
from modeling.backends import litert
from modeling.backends.encoder import EncoderUnavailable, FloatArray, one_line
from modeling.backends.keras_networks import BROKEN, import_tensorflow, quiet, require_tensorflow
from modeling.backends.litert import OneByOne, PerCore

ONNX_PACKAGE = "onnxruntime"
LARGEST_SIDE = 2048
_WHOLE = {"uint8": np.uint8, "int8": np.int8}

# uint8 (1, h, w, 3) -> float32 (1, h, w, c), scaled as the model wants it
Scaled = Callable[[Pixels], FloatArray]


@dataclass(frozen=True)
class Input:
    """What a model takes: one image of height x width x channels (1 or 3), as ``dtype``.

    ``scale`` and ``zero`` tell what whole numbers mean where the model is quantised; scale is 0 where it isn't.
    """

    height: int
    width: int
    channels: int
    is_channels_first: bool
    dtype: str
    scale: float = 0.0
    zero: int = 0

    @property
    def is_whole(self) -> bool:
        return self.dtype in _WHOLE

    @property
    def low(self) -> float:
        """The value of the least whole number."""
        return (float(np.iinfo(_WHOLE[self.dtype]).min) - self.zero) * self.scale if self.is_whole else 0.0

    @property
    def high(self) -> float:
        return (float(np.iinfo(_WHOLE[self.dtype]).max) - self.zero) * self.scale if self.is_whole else 0.0

    def array(self, values: FloatArray) -> npt.NDArray[Any]:
        """float32 (1, h, w, c) as the very array that the model takes."""
        if self.is_channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        if not self.is_whole:
            return values.astype(self.dtype, copy=False)
        limits = np.iinfo(_WHOLE[self.dtype])
        if self.scale:
            values = values / np.float32(self.scale) + np.float32(self.zero)
        return np.clip(np.rint(values), limits.min, limits.max).astype(self.dtype)


class Model:
    """An opened model file.

    Attributes
    ----------
    input : what it takes.
    library : by what it is run, for the fingerprint.
    """

    def __init__(self, path: Path, spec: Input, library: str, ways: Sequence[Callable[[Any], Any]]) -> None:
        self.input = spec
        self.library = library
        self._path = path
        self._ways = ways

    def start(self, scaled: Scaled) -> PerCore:
        """Ready to run on pixels that ``scaled`` turns into what the model was trained on."""
        black = np.zeros((1, self.input.height, self.input.width, 3), np.uint8)
        try:
            return PerCore([self._way(one, scaled) for one in self._ways], black)
        except BROKEN as error:
            raise _unusable(self._path, f"it could not be run ({one_line(error)})") from error

    def _way(self, way: Callable[[Any], Any], scaled: Scaled) -> OneByOne:
        def run(pixels: Pixels) -> FloatArray:
            return pooled(way(self.input.array(scaled(pixels))), is_channels_first=self.input.is_channels_first)

        return run


def open_model(path: Path, sha256: str, side: int, graphs: Path | None) -> Model:
    """The model in a file; ``side`` where it leaves the size of its input open.

    Raises
    ------
    EncoderUnavailable : the file is damaged, holds no image model, or something to run it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _open_onnx(path, side)
    if suffix == ".tflite":
        return _open_graph(path, path.read_bytes(), side)
    graph = litert.kept(graphs, f"own-{sha256[:16]}-{side}", lambda: _frozen(path, side))
    return _open_graph(path, graph, side)


def pooled(output: npt.NDArray[Any], *, is_channels_first: bool) -> FloatArray:
    """The output for one image as one vector: a feature map is averaged over the image, anything else flattened."""
    values = np.asarray(output, np.float32)
    if values.ndim == 4:
        values = values.mean(axis=(2, 3) if is_channels_first else (1, 2))
    vector: FloatArray = values.reshape(-1)
    return vector


# -- LiteRT ------------------------------------------------------------------------------------------
def _open_graph(path: Path, graph: bytes, side: int) -> Model:
    try:
        interpreters = _interpreters(graph, side)
        inputs = interpreters[0].get_input_details()
        output = interpreters[0].get_output_details()[0]
    except BROKEN as error:
        raise _unusable(path, f"LiteRT cannot read it ({one_line(error)})") from error
    _require_one(path, len(inputs))
    scale, zero = inputs[0]["quantization"]
    spec = _input(path, list(inputs[0]["shape"]), np.dtype(inputs[0]["dtype"]).name, side, (float(scale), int(zero)))
    source, target = int(inputs[0]["index"]), int(output["index"])
    ways = [_way(one, source, target, output["quantization"]) for one in interpreters]
    return Model(path, spec, litert.library(), ways)


def _interpreters(graph: bytes, side: int) -> list[Any]:
    """An interpreter for each core, for one image of ``side`` where the file leaves sizes open."""
    from ai_edge_litert.interpreter import Interpreter

    found = []
    for _ in range(litert.n_cores()):
        interpreter = Interpreter(model_content=graph, num_threads=1)
        first = interpreter.get_input_details()[0]
        signature = [int(n) for n in first["shape_signature"]]
        if len(signature) == 4 and -1 in signature:
            interpreter.resize_tensor_input(first["index"], _closed(signature, side))
        interpreter.allocate_tensors()
        found.append(interpreter)
    return found


def _way(interpreter: Any, source: int, target: int, quantization: tuple[float, int]) -> Callable[[Any], Any]:
    def run(values: Any) -> Any:
        interpreter.set_tensor(source, values)
        interpreter.invoke()
        return litert.floats_of(interpreter.get_tensor(target), quantization)

    return run


# -- Keras -------------------------------------------------------------------------------------------
def _frozen(path: Path, side: int) -> bytes:
    """A whole Keras model as a LiteRT file for one image. Keras runs no code that a file brings along (safe mode)."""
    require_tensorflow(path.name)
    tensorflow, keras = import_tensorflow()
    with quiet():
        try:
            model = keras.models.load_model(str(path), compile=False, safe_mode=True)
            inputs = list(model.inputs)
        except BROKEN as error:
            raise _unusable(path, f"Keras cannot load it as a whole model ({one_line(error)})") from error
        _require_one(path, len(inputs))
        spec = _input(path, list(inputs[0].shape), str(inputs[0].dtype), side)
        image = keras.Input(_shape(spec)[1:], batch_size=1)
        try:
            output = model(image, training=False)
            first = next(iter(keras.tree.flatten(output)))
            return litert.frozen(tensorflow, keras.Model(image, first))
        except Exception as error:
            # The converter raises whatever its C++ part meets; any of it means that this model is not for LiteRT.
            raise _unusable(path, f"it cannot be frozen ({one_line(error)})") from error


# -- ONNX --------------------------------------------------------------------------------------------
def require_onnx(path: Path) -> None:
    if importlib.util.find_spec(ONNX_PACKAGE) is None:
        raise EncoderUnavailable(
            f"{path.name} needs onnxruntime, which is not installed",
            "Install it (uv sync --extra onnx), or convert the model to .tflite.",
        )


def _open_onnx(path: Path, side: int) -> Model:
    require_onnx(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        # One session serves all threads; each call computes in the thread that asks.
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's own exceptions have no base of their own beside Exception.
        raise _unusable(path, f"onnxruntime cannot read it ({one_line(error)})") from error
    inputs = session.get_inputs()
    _require_one(path, len(inputs))
    dtype = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
    spec = _input(path, list(inputs[0].shape), dtype.get(inputs[0].type, inputs[0].type), side)
    source, target = inputs[0].name, session.get_outputs()[0].name

    def run(values: Any) -> Any:
        return session.run([target], {source: values})[0]

    major = importlib.metadata.version(ONNX_PACKAGE).split(".")[0]
    return Model(path, spec, f"onnxruntime {major}", [run] * litert.n_cores())


# -- What a model takes ------------------------------------------------------------------------------
def _input(
    path: Path, shape: Sequence[Any], dtype: str, side: int, quantization: tuple[float, int] = (0.0, 0)
) -> Input:
    """An image model's input by its shape, which may leave the number of images and their size open."""
    told = f"({', '.join('?' if _is_open(n) else str(n) for n in shape)})"
    if dtype not in ("float32", "float16", *_WHOLE):
        raise _unusable(path, f"it takes {dtype}, not pixels")
    if len(shape) != 4 or not (_is_open(shape[0]) or int(shape[0]) == 1):
        raise _unusable(path, f"it takes {told}, and an image is (1, height, width, channels)")
    is_last = shape[3] in (1, 3)
    if not is_last and shape[1] not in (1, 3):
        raise _unusable(path, f"it takes {told}, which has neither one nor three channels")
    height, width = [int(n) for n in _closed(shape, side)[1:3]] if is_last else _closed(shape, side)[2:4]
    if not 1 <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
        raise _unusable(path, f"it takes images of {width} x {height} pixels")
    channels = int(shape[3] if is_last else shape[1])
    return Input(height, width, channels, not is_last, dtype, *quantization)


def _shape(spec: Input) -> tuple[int, int, int, int]:
    if spec.is_channels_first:
        return 1, spec.channels, spec.height, spec.width
    return 1, spec.height, spec.width, spec.channels


def _closed(shape: Sequence[Any], side: int) -> list[int]:
    return [1 if place == 0 else side if _is_open(n) else int(n) for place, n in enumerate(shape)]


def _is_open(n: Any) -> bool:
    """None in Keras, a name in ONNX, -1 in LiteRT."""
    return not isinstance(n, int | np.integer) or int(n) < 1


def _require_one(path: Path, n_inputs: int) -> None:
    if n_inputs != 1:
        raise _unusable(path, f"it takes {n_inputs} inputs, and an image is one")


def _unusable(path: Path, why: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"{path.name} is no image model that can be used here: {why}",
        "An encoder is a whole model that takes one image, in a file .keras, .h5, .tflite or .onnx.",
    )
