"""Write weight files as torch does and did, and compute ResNet18 in plain NumPy for comparison."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

State = dict[str, np.ndarray]
_STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def save_as_torch_does(file: Path, state: State, *, shorten: str = "", is_old: bool = False) -> None:
    """Write what ``torch.save`` writes for tensors, or wrote before version 1.6.

    ``shorten`` names a tensor whose storage is truncated.
    """
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: Any) -> None:
        raise AssertionError

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for name in _STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    storages: dict[str, np.ndarray] = {}

    class Storage:
        def __init__(self, key: str, content: np.ndarray) -> None:
            self.key, self.content = key, content

    class Tensor:
        def __init__(self, name: str, content: np.ndarray) -> None:
            self.storage, self.content = Storage(str(len(storages)), content), content
            storages[self.storage.key] = content.ravel()[: -9 if name == shorten else None]

        def __reduce__(self) -> tuple[Any, ...]:
            strides = tuple(step // self.content.itemsize for step in self.content.strides)
            arguments = (self.storage, 0, self.content.shape, strides, False, collections.OrderedDict())
            return _rebuild_tensor_v2, arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if not isinstance(obj, Storage):
                return None
            kind = getattr(torch, _STORAGES[str(obj.content.dtype)])
            return "storage", kind, obj.key, "cpu", storages[obj.key].size, *([None] if is_old else [])

    stream = io.BytesIO()
    tensors = {name: Tensor(name, value) if isinstance(value, np.ndarray) else value for name, value in state.items()}
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        Pickler(stream, protocol=2).dump(collections.OrderedDict(tensors))
    if is_old:
        file.write_bytes(_old_head() + stream.getvalue() + _old_storages(storages))
        return
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/data.pkl", stream.getvalue())
        archive.writestr("weights/byteorder", "little")
        for key, content in storages.items():
            archive.writestr(f"weights/data/{key}", content.tobytes())


def _old_head() -> bytes:
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, machine))


def _old_storages(storages: State) -> bytes:
    contents = [struct.pack("<q", content.size) + content.tobytes() for content in storages.values()]
    return pickle.dumps(list(storages), protocol=2) + b"".join(contents)


def resnet18_state(rng: np.random.Generator) -> State:
    """Return random weights with torchvision's names."""
    state: State = {}

    def add(convolution: str, norm: str, n_out: int, n_in: int, size: int) -> None:
        scale = np.sqrt(2 / (n_in * size**2))
        state[f"{convolution}.weight"] = (scale * rng.normal(size=(n_out, n_in, size, size))).astype(np.float32)
        for name, low, high in (("weight", 0.5, 1), ("bias", -0.1, 0.1), ("running_mean", -0.1, 0.1)):
            state[f"{norm}.{name}"] = rng.uniform(low, high, n_out).astype(np.float32)
        state[f"{norm}.running_var"] = rng.uniform(0.5, 1, n_out).astype(np.float32)
        state[f"{norm}.num_batches_tracked"] = np.array(7)

    add("conv1", "bn1", 64, 3, 7)
    n = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            add(f"{name}.conv1", f"{name}.bn1", width, n, 3)
            add(f"{name}.conv2", f"{name}.bn2", width, width, 3)
            if stage > 1 and block == 0:
                add(f"{name}.downsample.0", f"{name}.downsample.1", width, n, 1)
            n = width
    state["fc.weight"] = rng.normal(size=(10, 512)).astype(np.float32)
    return state


def resnet18_forward(state: State, pixels: np.ndarray) -> np.ndarray:
    """Return the averages (512,) of the last feature map of uint8 ``pixels`` (h, w, 3)."""

    def layer(values: np.ndarray, convolution: str, norm: str, stride: int, padding: int) -> np.ndarray:
        convolved = _convolve(values, state[f"{convolution}.weight"], stride, padding)
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + 1e-5)
        return (convolved - state[f"{norm}.running_mean"][:, None, None]) * scale[:, None, None] + state[
            f"{norm}.bias"
        ][:, None, None]

    scaled = (pixels / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    values = np.maximum(layer(scaled.transpose(2, 0, 1), "conv1", "bn1", 2, 3), 0)
    values = _windows(np.pad(values, ((0, 0), (1, 1), (1, 1))), 3, 2).max(axis=(3, 4))
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            residual = np.maximum(layer(values, f"{name}.conv1", f"{name}.bn1", stride, 1), 0)
            residual = layer(residual, f"{name}.conv2", f"{name}.bn2", 1, 1)
            if f"{name}.downsample.0.weight" in state:
                values = layer(values, f"{name}.downsample.0", f"{name}.downsample.1", stride, 0)
            values = np.maximum(values + residual, 0)
    return values.mean(axis=(1, 2))


def _windows(values: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Return all windows of (c, h, w): (c, y, x, size, size)."""
    return np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def _convolve(values: np.ndarray, kernel: np.ndarray, stride: int, padding: int) -> np.ndarray:
    padded = np.pad(values, ((0, 0), (padding, padding), (padding, padding)))
    return np.einsum("cyxab,ocab->oyx", _windows(padded, kernel.shape[2], stride), kernel, optimize=True)
