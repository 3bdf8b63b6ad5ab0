"""ResNet18 with torchvision's ImageNet weights, run by torch where that is installed: 224 x 224 pixels -> 512 numbers.

He et al. (2016), "Deep residual learning for image recognition", CVPR. torchvision itself isn't needed: the network is
small, and its weights are a dictionary of arrays. The normalisation of each layer is folded into its convolution.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from labeling.images.squares import Pixels
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, file_sha256, fingerprint, one_line
from modeling.backends.weights import RESNET18, damaged

PACKAGE = "torch"
SIDE = 224
DIM = 512
BATCH = 32
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPSILON = 1e-5
_BAD_FILE = (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, pickle.UnpicklingError)


class ResNet18Encoder(Encoder):
    """The network with the weights of a file; ``origin`` says in words where that was found."""

    name = RESNET18.title
    dim = DIM
    input_side = SIDE
    batch_size = BATCH

    def __init__(self, file: Path, origin: str) -> None:
        self._torch = _import_torch()
        self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self.reason = f"ResNet18 with ImageNet weights {origin}{', on the GPU' if self._device == 'cuda' else ''}."
        try:
            self._layers = _folded(self._torch, file, self._device)
            trial = self._run(np.zeros((1, SIDE, SIDE, 3), np.uint8))
        except _BAD_FILE as error:
            raise damaged(RESNET18, file, one_line(error)) from error
        if trial.shape != (1, DIM) or not np.isfinite(trial).all():
            raise damaged(RESNET18, file, "it gives no 512 finite numbers")
        self.fingerprint = fingerprint(
            architecture="resnet18 average",
            weights=file_sha256(file),
            side=SIDE,
            resize="bilinear squash",
            normalisation="(x/255-mean)/deviation",
            library=f"torch {self._torch.__version__.split('.')[0]} {self._device}",
        )

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        out = np.empty((len(pixels), DIM), np.float32)
        for start in range(0, len(pixels), BATCH):
            out[start : start + BATCH] = self._run(pixels[start : start + BATCH])
        return np.nan_to_num(out, copy=False)

    def _run(self, pixels: Pixels) -> FloatArray:
        with self._torch.inference_mode():
            values = self._torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            vectors: FloatArray = _forward(self._torch.nn.functional, self._layers, _scaled(self._torch, values))
            return np.asarray(vectors.cpu())  # type: ignore[attr-defined]


def is_installed() -> bool:
    """Is torch there to be imported? Looks without importing it."""
    return importlib.util.find_spec(PACKAGE) is not None


def require_torch() -> None:
    if not is_installed():
        raise EncoderUnavailable(
            "torch is not installed", "Install it for ResNet18 (uv sync --extra torch), or choose another encoder."
        )


def _import_torch() -> Any:
    require_torch()
    try:
        import torch
    except (ImportError, OSError) as error:
        raise EncoderUnavailable(
            f"torch cannot be imported ({one_line(error)})", "Reinstall it, or choose another encoder."
        ) from error
    # Rounds products to 10 bits: the vectors would not be those of other machines.
    torch.backends.cudnn.allow_tf32 = False
    return torch


def _folded(torch: Any, file: Path, device: str) -> dict[str, tuple[Any, Any]]:
    """Kernel and bias of each convolution by its name, normalisation included."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    layers = {}
    for name in [name.removesuffix(".weight") for name in state if _is_convolution(name, state)]:
        norm = _norm_of(name)
        factor = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _EPSILON)
        kernel = state[f"{name}.weight"] * factor[:, None, None, None]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
        kernel = kernel.float().contiguous(memory_format=torch.channels_last)
        layers[name] = kernel.to(device), bias.float().to(device)
    return layers


def _is_convolution(name: str, state: Any) -> bool:
    return name.endswith(".weight") and state[name].ndim == 4


def _norm_of(convolution: str) -> str:
    """torchvision's name of the normalisation after a convolution: conv1 -> bn1, downsample.0 -> downsample.1."""
    if convolution.endswith("downsample.0"):
        return convolution.removesuffix("0") + "1"
    return convolution.replace("conv", "bn")


def _scaled(torch: Any, pixels: Any) -> Any:
    """uint8 (n, h, w, 3) -> float (n, 3, h, w), less ImageNet's mean and by its deviation."""
    mean = torch.tensor(_MEAN, device=pixels.device) * 255
    deviation = torch.tensor(_DEVIATION, device=pixels.device) * 255
    return ((pixels.float() - mean) / deviation).permute(0, 3, 1, 2)


def _forward(functional: Any, layers: dict[str, tuple[Any, Any]], values: Any) -> Any:
    """(n, 3, h, w) -> (n, 512): a stem, four stages of two blocks, the average of the last feature map."""

    def layer(name: str, values: Any, stride: int = 1, padding: int = 1) -> Any:
        return functional.conv2d(values, *layers[name], stride=stride, padding=padding)

    values = functional.relu(layer("conv1", values, stride=2, padding=3))
    values = functional.max_pool2d(values, 3, stride=2, padding=1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            added = layer(f"{name}.conv2", functional.relu(layer(f"{name}.conv1", values, stride)))
            if f"{name}.downsample.0" in layers:
                values = layer(f"{name}.downsample.0", values, stride, padding=0)
            values = functional.relu(values + added)
    return values.mean((2, 3))
