"""Open a user's model file of any format: read its input and run it on one image at a time on each core.

Runs in a separate process (``model_process``), because the libraries that open such files are written in C.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.images.encoder_inputs import Pixels
from modeling.backends import keras_files, litert, onnx_files
from modeling.backends.encoder import EncoderUnavailable, FloatArray, one_line
from modeling.backends.keras_networks import BROKEN, import_tensorflow, quiet
from modeling.backends.litert import PerCore, RunOne

ONNX_PACKAGE = "onnxruntime"
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
LARGEST_SIDE = 2048
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
# Keras layers with which a model scales its pixels itself.
_SCALING = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Subtract")
_INTEGERS = {"uint8": np.uint8, "int8": np.int8}

# Scales uint8 (1, h, w, 3) to float32 (1, h, w, c), as the model expects.
Scaled = Callable[[Pixels], FloatArray]


@dataclass(frozen=True)
class Input:
    """The input of a model: one image of height x width x channels (1 or 3), as ``dtype``.

    ``scale`` and ``zero`` are the quantization of integer inputs; scale is 0 without quantization.
    """

    height: int
    width: int
    channels: int
    is_channels_first: bool
    dtype: str
    scale: float = 0.0
    zero: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        order = (self.height, self.width, self.channels)
        return (order[2], *order[:2]) if self.is_channels_first else order

    @property
    def is_integer(self) -> bool:
        return self.dtype in _INTEGERS

    @property
    def range(self) -> tuple[float, float]:
        """Return the values of the smallest and the largest integer; zeros for other types."""
        if not self.is_integer:
            return 0.0, 0.0
        limits = np.iinfo(_INTEGERS[self.dtype])
        return (limits.min - self.zero) * self.scale, (limits.max - self.zero) * self.scale

    def array(self, values: FloatArray) -> npt.NDArray[Any]:
        """Convert float32 (1, h, w, c) to the array that the model takes."""
        if self.is_channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        if not self.is_integer:
            return values.astype(self.dtype, copy=False)
        limits = np.iinfo(_INTEGERS[self.dtype])
        if self.scale:
            values = values / np.float32(self.scale) + np.float32(self.zero)
        return np.clip(np.rint(values), limits.min, limits.max).astype(self.dtype)


class Model:
    """An opened model file: its ``input``, and the ``library`` that runs it, for the fingerprint."""

    def __init__(self, path: Path, spec: Input, library: str, functions: Sequence[Callable[[Any], Any]]) -> None:
        self.input = spec
        self.library = library
        self._path = path
        self._functions = functions

    def start(self, scaled: Scaled) -> PerCore:
        """Return a runner for pixels that ``scaled`` converts as the model was trained."""
        black = np.zeros((1, self.input.height, self.input.width, 3), np.uint8)
        try:
            return PerCore([self._run_one(function, scaled) for function in self._functions], black)
        except BROKEN as error:
            raise _unusable(self._path, f"it could not be run ({one_line(error)})") from error

    def _run_one(self, function: Callable[[Any], Any], scaled: Scaled) -> RunOne:
        def run(pixels: Pixels) -> FloatArray:
            return pooled(function(self.input.array(scaled(pixels))), is_channels_first=self.input.is_channels_first)

        return run


def open_model(path: Path, graph: bytes, side: int) -> Model:
    """Open the model in a file; ``side`` is used if the file leaves its input size open.

    ``graph`` is the frozen model of a Keras file.

    Raises
    ------
    EncoderUnavailable
        If the file is damaged or contains no image model.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _open_onnx(path, side)
    return _open_graph(path, path.read_bytes() if suffix == ".tflite" else graph, side)


def guess(path: Path, spec: Input) -> tuple[str, str]:
    """Guess the preprocessing of a model file without description; return it with the reason."""
    low, high = spec.range
    if spec.scale and (low, high) != (0.0, 0.0):
        return ("-1..1" if low < -0.5 else "0..1" if high < 2 else "0..255"), "from its quantized input"
    if spec.is_integer:
        return "0..255", "because it takes integers"
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return "imagenet", "a guess, because most ONNX files come from torch"
    if suffix == ".tflite":
        return "-1..1", "a guess, the usual scaling of LiteRT files"
    if _scales_itself(path):
        return "0..255", "because it has layers that scale them"
    return "0..1", "a guess, because it has no layer that scales them"


def _scales_itself(path: Path) -> bool:
    """Return whether a Keras model has layers that scale pixels, from its configuration, without Keras."""
    try:
        text = keras_files.config_of(path)
    except (OSError, KeyError, ValueError):
        return False  # opening an unreadable file raises the error later
    return any(f'"class_name": "{layer}"' in text for layer in _SCALING)


def scaled(preprocessing: str, channels: int, pixels: Pixels) -> FloatArray:
    """Scale uint8 (1, h, w, 3) to float32 (1, h, w, channels), as the model was trained."""
    values = pixels.astype(np.float32)
    if channels == 1:
        values = values[..., :1]
    if preprocessing == "-1..1":
        return values / np.float32(127.5) - np.float32(1)
    if preprocessing != "0..255":
        values /= np.float32(255)
    if preprocessing == "imagenet":
        used = slice(None) if channels == 3 else slice(1)
        values = (values - _MEAN[used]) / _DEVIATION[used]
    return values


def pooled(output: npt.NDArray[Any], *, is_channels_first: bool) -> FloatArray:
    """Convert the output for one image to a vector: average a feature map over the image, flatten anything else."""
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
    _require_one_input(path, len(inputs))
    scale, zero = inputs[0]["quantization"]
    spec = _input(path, list(inputs[0]["shape"]), np.dtype(inputs[0]["dtype"]).name, side, (float(scale), int(zero)))

    def run(interpreter: Any, values: Any) -> Any:
        interpreter.set_tensor(int(inputs[0]["index"]), values)
        interpreter.invoke()
        return litert.floats_of(interpreter.get_tensor(int(output["index"])), output["quantization"])

    return Model(path, spec, litert.library(), [partial(run, interpreter) for interpreter in interpreters])


def _interpreters(graph: bytes, side: int) -> list[Any]:
    """Return one interpreter per core, for one image of ``side`` where the file leaves sizes open."""
    from ai_edge_litert.interpreter import Interpreter

    interpreters = []
    for _ in range(litert.n_cores()):
        interpreter = Interpreter(model_content=graph, num_threads=1)
        first = interpreter.get_input_details()[0]
        signature = [int(n) for n in first["shape_signature"]]
        if len(signature) == 4 and -1 in signature:
            interpreter.resize_tensor_input(first["index"], _closed(signature, side))
        interpreter.allocate_tensors()
        interpreters.append(interpreter)
    return interpreters


# -- Keras -------------------------------------------------------------------------------------------
def frozen_file(path: Path, side: int) -> bytes:
    """Freeze a Keras model to a LiteRT file for one image. Keras runs no code contained in the file (safe mode)."""
    try:
        keras_files.require_harmless(path)
    except keras_files.UnsafeKerasFile as error:
        raise _unusable(path, str(error)) from error
    except BROKEN as error:
        raise _unusable(path, f"Keras cannot load it as a whole model ({one_line(error)})") from error
    tensorflow, keras = import_tensorflow()
    with quiet():
        try:
            model = keras.models.load_model(str(path), compile=False, safe_mode=True)
            inputs = list(model.inputs)
        except BROKEN as error:
            raise _unusable(path, f"Keras cannot load it as a whole model ({one_line(error)})") from error
        _require_one_input(path, len(inputs))
        spec = _input(path, list(inputs[0].shape), str(inputs[0].dtype), side)
        image = keras.Input(spec.shape, batch_size=1)
        try:
            output = model(image, training=False)
            first = next(iter(keras.tree.flatten(output)))
            return litert.frozen(tensorflow, keras.Model(image, first))
        except Exception as error:
            # The converter raises various errors from C++; any of them means that LiteRT cannot run this model.
            raise _unusable(path, f"it cannot be frozen ({one_line(error)})") from error


# -- ONNX --------------------------------------------------------------------------------------------
def require_onnx(path: Path) -> None:
    if importlib.util.find_spec(ONNX_PACKAGE) is None:
        raise EncoderUnavailable(
            f"{path.name} needs onnxruntime, which is not installed",
            "Install it (uv sync --extra onnx), or convert the model to .tflite.",
        )


def _open_onnx(path: Path, side: int) -> Model:
    import onnxruntime

    content = path.read_bytes()
    _require_own_weights(path, content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        # One session serves all threads; each call computes in the calling thread.
        session = onnxruntime.InferenceSession(
            content, options, providers=onnx_providers(onnxruntime.get_available_providers())
        )
    except Exception as error:
        # onnxruntime's exceptions have no common base class besides Exception.
        raise _unusable(path, f"onnxruntime cannot read it ({one_line(error)})") from error
    inputs = session.get_inputs()
    _require_one_input(path, len(inputs))
    dtype = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
    spec = _input(path, list(inputs[0].shape), dtype.get(inputs[0].type, inputs[0].type), side)
    source, target = inputs[0].name, session.get_outputs()[0].name

    def run(values: Any) -> Any:
        return session.run([target], {source: values})[0]

    return Model(path, spec, onnx_library(session.get_providers()), [run] * litert.n_cores())


def onnx_providers(available: Sequence[str]) -> list[str | tuple[str, dict[str, int]]]:
    """Return where onnxruntime computes, in order of preference: an Nvidia GPU if it has the code for it, the CPU.

    TensorFloat-32 is off: it rounds products to 10 bits. Other providers, such as Core ML, may compute with float16.
    """
    gpu: list[str | tuple[str, dict[str, int]]] = [(_CUDA, {"use_tf32": 0})] if _CUDA in available else []
    return [*gpu, _CPU]


def onnx_library(providers: Sequence[str]) -> str:
    """Return the name in fingerprints of what runs a model: vectors of a GPU are kept apart, as those of Keras are."""
    major = importlib.metadata.version(ONNX_PACKAGE).split(".")[0]
    return f"onnxruntime {major}{' CUDA' if _CUDA in providers else ''}"


def _require_own_weights(path: Path, content: bytes) -> None:
    try:
        has_other_files = onnx_files.has_other_files(content)
    except ValueError as error:
        raise _unusable(path, f"it is not an ONNX file ({error})") from error
    if has_other_files:
        raise _unusable(path, "its weights are in other files")


# -- What a model takes ------------------------------------------------------------------------------
def _input(
    path: Path, shape: Sequence[Any], dtype: str, side: int, quantization: tuple[float, int] = (0.0, 0)
) -> Input:
    """Derive the input of an image model from its shape, which may leave batch size and image size open."""
    shown = f"({', '.join('?' if _is_open(n) else str(n) for n in shape)})"
    if dtype not in ("float32", "float16", *_INTEGERS):
        raise _unusable(path, f"its input is {dtype}, not pixels")
    if len(shape) != 4 or not (_is_open(shape[0]) or int(shape[0]) == 1):
        raise _unusable(path, f"its input is {shown}, but an image is (1, height, width, channels)")
    is_last = shape[3] in (1, 3)
    if not is_last and shape[1] not in (1, 3):
        raise _unusable(path, f"its input {shown} has neither one nor three channels")
    height, width = [int(n) for n in _closed(shape, side)[1:3]] if is_last else _closed(shape, side)[2:4]
    if not 1 <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
        raise _unusable(path, f"its input images have {width} x {height} pixels")
    channels = int(shape[3] if is_last else shape[1])
    return Input(height, width, channels, not is_last, dtype, *quantization)


def _closed(shape: Sequence[Any], side: int) -> list[int]:
    return [1 if place == 0 else side if _is_open(n) else int(n) for place, n in enumerate(shape)]


def _is_open(n: Any) -> bool:
    """Return whether a dimension is open: None in Keras, a name in ONNX, -1 in LiteRT."""
    return not isinstance(n, int | np.integer) or int(n) < 1


def _require_one_input(path: Path, n_inputs: int) -> None:
    if n_inputs != 1:
        raise _unusable(path, f"it has {n_inputs} inputs instead of one")


def _unusable(path: Path, problem: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"{path.name} is not a usable image model: {problem}",
        "An encoder is a whole model with one image as input, in a .keras, .h5, .tflite or .onnx file.",
    )
