"""A network frozen to one file and run by LiteRT (XNNPACK): on a processor several times as fast as Keras.

LiteRT (the package ``ai-edge-litert``, formerly TensorFlow Lite) loads in a moment, where TensorFlow takes ten
seconds. TensorFlow is needed once, to freeze the network; the file is kept under the hash of its weights.
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
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray

log = logging.getLogger(__name__)

# One image, (1, …), in; one vector out.
OneByOne = Callable[[Pixels], FloatArray]


class Runner(Protocol):
    """A network that is ready: ``run`` turns uint8 (n, h, w, 3) into float32 (n, dim)."""

    dim: int

    def run(self, pixels: Pixels) -> FloatArray: ...


class PerCore:
    """Runs one image at a time on each core: feature maps of one image stay in a core's cache.

    ``ways`` are as many ways to run the network as there are cores, each used by one thread at a time; they let go
    of Python's lock while they compute. A trial with a black image tells the length of the vectors.
    """

    def __init__(self, ways: Sequence[OneByOne], black: Pixels) -> None:
        self._ways = ways
        trial = ways[0](black)
        self.dim = len(trial)
        self.is_sound = bool(np.isfinite(trial).all())
        self._pool = ThreadPoolExecutor(len(ways), thread_name_prefix="network")
        self._lock = threading.Lock()

    def run(self, pixels: Pixels) -> FloatArray:
        """uint8 (n, h, w, c), as the network wants them -> float32 (n, dim); callers take turns."""
        out = np.empty((len(pixels), self.dim), np.float32)
        # Each takes the next image that nobody has: cores differ, and other programs run on some of them.
        coming = iter(range(len(pixels)))

        def work(way: OneByOne) -> None:
            for position in coming:
                out[position] = way(pixels[position : position + 1])

        with self._lock:
            list(self._pool.map(work, self._ways))
        return out


class Network(PerCore):
    """A network that was :func:`frozen` here: float32 (1, side, side, 3) of 0 … 255 -> (1, dim)."""

    def __init__(self, graph: bytes) -> None:
        interpreters = interpreters_of(graph)
        shape = interpreters[0].get_input_details()[0]["shape"]
        super().__init__([_way(one) for one in interpreters], np.zeros(shape, np.uint8))


def _way(interpreter: Any) -> OneByOne:
    source = int(interpreter.get_input_details()[0]["index"])
    target = int(interpreter.get_output_details()[0]["index"])

    def run(pixels: Pixels) -> FloatArray:
        interpreter.set_tensor(source, pixels.astype(np.float32))
        interpreter.invoke()
        vector: FloatArray = interpreter.get_tensor(target)[0]
        return vector

    return run


def interpreters_of(graph: bytes) -> list[Any]:
    """One LiteRT interpreter for each core."""
    from ai_edge_litert.interpreter import Interpreter

    found = [Interpreter(model_content=graph, num_threads=1) for _ in range(n_cores())]
    for interpreter in found:
        interpreter.allocate_tensors()
    return found


def n_cores() -> int:
    return os.cpu_count() or 1


def library() -> str:
    """What a fingerprint says of LiteRT: another major version may give other numbers."""
    return "litert " + importlib.metadata.version("ai-edge-litert").split(".")[0]


def kept(folder: Path | None, name: str, freeze: Callable[[], bytes]) -> bytes:
    """Return the frozen network that is cached in ``folder`` as ``name``; freeze and cache it where it is missing.

    The start of the content's SHA-256 is part of the file's name, so that a damaged file is noticed and made again.
    """
    if folder is None:
        return freeze()
    for file in folder.glob(f"{glob.escape(name)}.*.tflite"):
        graph = file.read_bytes()
        if file.name == f"{name}.{_digest(graph)}.tflite":
            return graph
        log.warning("%s is damaged. The network is frozen again.", file)
        file.unlink(missing_ok=True)
    graph = freeze()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.{_digest(graph)}.tflite"
    handle, draft = tempfile.mkstemp(dir=folder, prefix=file.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(graph)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).chmod(0o644)  # mkstemp's files are their maker's alone; workers may run as other users
        Path(draft).replace(file)
        (folder / f"{name}.tflite").unlink(missing_ok=True)  # of an earlier version, which cannot be checked
    finally:
        Path(draft).unlink(missing_ok=True)
    return graph


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def frozen(tensorflow: Any, model: Any) -> bytes:
    """A Keras model with its weights as one file."""
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints hundreds of lines about what it writes
        return bytes(converter.convert())


def floats_of(values: npt.NDArray[Any], quantization: tuple[float, int]) -> FloatArray:
    """What a network's output means: numbers that were quantised are turned back."""
    scale, zero = quantization
    found: FloatArray = values.astype(np.float32)
    return (found - np.float32(zero)) * np.float32(scale) if scale else found
