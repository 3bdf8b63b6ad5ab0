"""Detect a GPU for TensorFlow, without importing TensorFlow (ten seconds) where there cannot be one."""

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


def is_possible() -> bool:
    """Return whether there is a GPU driver and a TensorFlow built for GPUs, without importing it."""
    if _has("tensorflow-cpu"):
        return False
    return _DRIVER.exists() or shutil.which("nvidia-smi") is not None or _has("tensorflow-metal")


def is_available(tensorflow: Any) -> bool:
    """Return whether TensorFlow has a GPU. Limits its memory use to what it needs, so that other programs can run."""
    devices = tensorflow.config.list_physical_devices("GPU")
    for device in devices:
        tensorflow.config.experimental.set_memory_growth(device, True)
    if devices:
        # TensorFloat-32 rounds products to 10 bits: vectors would differ from those of other machines.
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    return bool(devices)


class KerasRunner:
    """Runs a Keras model directly, in batches, for GPUs."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dim = int(model.output_shape[-1])

    def run(self, pixels: Pixels) -> FloatArray:
        """Encode uint8 (n, h, w, 3) as float32 (n, dim)."""
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
