"""Is there a GPU that TensorFlow could use? Asked without importing TensorFlow, which takes ten seconds."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray

_DRIVER = Path("/proc/driver/nvidia/version")
BATCH = 64


def may_be_there() -> bool:
    """A driver for a GPU, and a TensorFlow that was built for one: only then is it worth importing it to ask."""
    if _has("tensorflow-cpu"):
        return False
    return _DRIVER.exists() or shutil.which("nvidia-smi") is not None or _has("tensorflow-metal")


def sees(tensorflow: Any) -> bool:
    """Does TensorFlow see a GPU? Takes of its memory only what it needs, so that other programs have theirs."""
    found = tensorflow.config.list_physical_devices("GPU")
    for one in found:
        tensorflow.config.experimental.set_memory_growth(one, True)
    if found:
        # Rounds products to 10 bits: the vectors would not be those of other machines.
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    return bool(found)


class KerasRunner:
    """Runs a Keras model as it is, in batches: what a GPU likes."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dim = int(model.output_shape[-1])

    def run(self, pixels: Pixels) -> FloatArray:
        """uint8 (n, h, w, 3) -> float32 (n, dim)."""
        out = np.empty((len(pixels), self.dim), np.float32)
        for start in range(0, len(pixels), BATCH):
            batch = pixels[start : start + BATCH].astype(np.float32)
            out[start : start + BATCH] = self._model.predict_on_batch(batch)
        return out


def _has(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
