"""Run networks by LiteRT (XNNPACK), several times faster than Keras on a CPU, and freeze Keras models to its files.

LiteRT (the package ``ai-edge-litert``, formerly TensorFlow Lite) loads at once, whereas TensorFlow takes ten seconds.
TensorFlow is only needed to freeze a Keras model; the file is cached under the hash of its weights.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib.metadata
import io
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hoshina.core.storage import replacing
from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray

log = logging.getLogger(__name__)

# Maps one image (1, …) to one vector.
RunOne = Callable[[Pixels], FloatArray]


class Runner(Protocol):
    """A network ready to run; ``run`` maps uint8 (n, h, w, 3) to float32 (n, dim)."""

    dim: int

    def run(self, pixels: Pixels) -> FloatArray: ...


class PerCore:
    """Runs one image at a time on each core, so that the feature maps of an image stay in the core's cache.

    ``functions`` are as many functions that run the network as there are cores, each used by one thread at a time; they
    release the global interpreter lock. A trial with a black image determines the length of the vectors.
    """

    def __init__(self, functions: Sequence[RunOne], black: Pixels) -> None:
        trial = functions[0](black)
        self.dim = len(trial)
        self.is_sound = bool(np.isfinite(trial).all())
        self._n = len(functions)
        self._free = SimpleQueue[RunOne]()
        for function in functions:
            self._free.put(function)
        self._pool = ThreadPoolExecutor(self._n, thread_name_prefix="network")

    def run(self, pixels: Pixels) -> FloatArray:
        """Map uint8 (n, h, w, c), as the network expects them, to float32 (n, dim). Thread-safe."""
        out = np.empty((len(pixels), self.dim), np.float32)
        # Each thread takes the next image: cores differ in speed, and other programs run on some of them.
        remaining = iter(range(len(pixels)))

        def work(_: int) -> None:
            function = self._free.get()
            try:
                for position in remaining:
                    out[position] = function(pixels[position : position + 1])
            finally:
                self._free.put(function)

        list(self._pool.map(work, range(self._n)))
        return out


class Network(PerCore):
    """Hold a network as a LiteRT file, frozen or assembled: float32 (1, side, side, 3) in 0 … 255 to (1, dim)."""

    def __init__(self, graph: bytes) -> None:
        interpreters = interpreters_of(graph)
        shape = interpreters[0].get_input_details()[0]["shape"]
        super().__init__([_run_function(interpreter) for interpreter in interpreters], np.zeros(shape, np.uint8))


def _run_function(interpreter: Any) -> RunOne:
    source = int(interpreter.get_input_details()[0]["index"])
    target = int(interpreter.get_output_details()[0]["index"])

    def run(pixels: Pixels) -> FloatArray:
        interpreter.set_tensor(source, pixels.astype(np.float32))
        interpreter.invoke()
        vector: FloatArray = interpreter.get_tensor(target)[0]
        return vector

    return run


def interpreters_of(graph: bytes) -> list[Any]:
    """Return one LiteRT interpreter per core."""
    from ai_edge_litert.interpreter import Interpreter

    interpreters = [Interpreter(model_content=graph, num_threads=1) for _ in range(n_cores())]
    for interpreter in interpreters:
        interpreter.allocate_tensors()
    return interpreters


def n_cores() -> int:
    return os.cpu_count() or 1


def library() -> str:
    """Return the library's name in fingerprints: another major version may give other values."""
    return "litert " + importlib.metadata.version("ai-edge-litert").split(".")[0]


def cached(folder: Path | None, name: str, freeze: Callable[[], bytes]) -> bytes:
    """Return the frozen network cached in ``folder`` as ``name``; freeze and cache it if it is missing.

    The file name contains the start of the content's SHA-256, so that damage is detected and repaired.
    """
    if folder is None:
        return freeze()
    for file in folder.glob(f"{glob.escape(name)}.*.tflite"):
        graph = file.read_bytes()
        if file.name == f"{name}.{_digest(graph)}.tflite":
            return graph
        log.warning("%s is damaged. Freezing the network again.", file)
        file.unlink(missing_ok=True)
    graph = freeze()
    with replacing(folder / f"{name}.{_digest(graph)}.tflite") as stream:
        stream.write(graph)
    (folder / f"{name}.tflite").unlink(missing_ok=True)  # of an earlier version, which cannot be checked
    return graph


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def frozen(tensorflow: Any, model: Any) -> bytes:
    """Convert a Keras model of one input and one output, with its weights, to one LiteRT file.

    TensorFlow's own conversion of Keras models gives the same file in almost twice the time: it lists all objects of
    the model several times.
    """
    [source] = model.inputs
    shape = tensorflow.TensorSpec(source.shape, source.dtype, name=source.name)
    module = tensorflow.Module()
    module.weights = [variable.value for variable in model.variables]
    module.call = tensorflow.function(lambda x: {"output_0": model(x, training=False)}, input_signature=[shape])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        tensorflow.saved_model.save(module, folder, signatures={"serving_default": module.call})
        return bytes(tensorflow.lite.TFLiteConverter.from_saved_model(folder).convert())


def floats_of(values: npt.NDArray[Any], quantization: tuple[float, int]) -> FloatArray:
    """Convert a network's output to float32, dequantizing it if needed."""
    scale, zero = quantization
    floats: FloatArray = values.astype(np.float32)
    return (floats - np.float32(zero)) * np.float32(scale) if scale else floats
