"""A network frozen to one file and run by LiteRT (XNNPACK): on a processor several times as fast as Keras.

LiteRT (the package ``ai-edge-litert``, formerly TensorFlow Lite) loads in a moment, where TensorFlow takes ten
seconds. TensorFlow is needed once, to freeze the network; the file is kept under the hash of its weights.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from modeling.backends.encoder import FloatArray, Pixels


class Network:
    """Runs a frozen network, one image at a time on each core: feature maps of one image stay in a core's cache.

    Each core has an interpreter of its own, which lets go of Python's lock while it computes.
    """

    def __init__(self, graph: bytes, *, n_threads: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreters = [
            Interpreter(model_content=graph, num_threads=1) for _ in range(n_threads or os.cpu_count() or 1)
        ]
        for interpreter in self._interpreters:
            interpreter.allocate_tensors()
        self._input = int(self._interpreters[0].get_input_details()[0]["index"])
        output = self._interpreters[0].get_output_details()[0]
        self._output, self.dim = int(output["index"]), int(output["shape"][-1])
        self._pool = ThreadPoolExecutor(len(self._interpreters), thread_name_prefix="litert")
        self._lock = threading.Lock()

    def run(self, pixels: Pixels) -> FloatArray:
        """uint8 (n, h, w, 3), as the network was frozen for -> float32 (n, dim); callers take turns."""
        out = np.empty((len(pixels), self.dim), np.float32)
        step = len(self._interpreters)

        def work(first: int) -> None:
            interpreter = self._interpreters[first]
            for position in range(first, len(pixels), step):
                interpreter.set_tensor(self._input, pixels[position : position + 1].astype(np.float32))
                interpreter.invoke()
                out[position] = interpreter.get_tensor(self._output)[0]

        with self._lock:
            list(self._pool.map(work, range(min(step, len(pixels)))))
        return out


def kept(folder: Path | None, name: str, freeze: Callable[[], bytes]) -> bytes:
    """The frozen network that is kept in ``folder`` as ``name``; made, and kept whole or not at all, if it is new."""
    if folder is None:
        return freeze()
    file = folder / f"{name}.tflite"
    if file.is_file():
        return file.read_bytes()
    graph = freeze()
    folder.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=folder, prefix=file.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(graph)
        Path(draft).replace(file)
    finally:
        Path(draft).unlink(missing_ok=True)
    return graph


def frozen(tensorflow: Any, model: Any) -> bytes:
    """A Keras model with its weights as one file."""
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints hundreds of lines about what it writes
        return bytes(converter.convert())
