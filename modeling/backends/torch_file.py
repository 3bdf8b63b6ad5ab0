"""Read weights from files saved by torch (``torch.save`` of a dictionary of tensors), without torch.

Such a file is a ZIP archive: a pickle that describes the tensors, and the bytes of each storage. Before torch 1.6 it
was a sequence of pickles, followed by the bytes of all storages. Only what describes tensors is unpickled; anything
else is refused, so that a file cannot run code.
"""

from __future__ import annotations

import collections
import math
import pickle
import struct
import zipfile
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from modeling.backends.batch_norm import Layers, fold

Array = NDArray[Any]
_DTYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?",
}  # fmt: skip
# The first two pickles of the older format: its magic number and its version.
_OLD_MAGIC, _OLD_VERSION = 0x1950A86A20F9469CFC6C, 1001
_DAMAGED = (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, EOFError, TypeError, IndexError, AttributeError)


def read_tensors(file: Path) -> dict[str, Array]:
    """Return the tensors of a file by name.

    Raises
    ------
    ValueError
        If the file is damaged or contains anything other than a dictionary of dense tensors.
    """
    try:
        with file.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"
            stream.seek(0)
            tensors = _read_zip(stream) if is_zip else _read_old(stream, file.stat().st_size)
    except _DAMAGED as error:
        raise ValueError(f"it contains no readable tensors: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, np.ndarray) for value in tensors.values()):
        raise ValueError("it contains no dictionary of tensors")
    return {name: np.array(value) for name, value in tensors.items()}


def fold_convolutions(tensors: dict[str, Array], norm_of: Callable[[str], str], epsilon: float) -> Layers:
    """Return each convolution with the normalization ``norm_of`` its name folded in. Raises KeyError."""
    layers: Layers = {}
    for name in [name.removesuffix(".weight") for name, tensor in tensors.items() if tensor.ndim == 4]:
        kernel, norm = tensors[f"{name}.weight"], norm_of(name)
        # Torch's order is (out, in, height, width); a depthwise convolution has one input for each output.
        kernel = kernel.transpose(2, 3, 0, 1) if kernel.shape[1] == 1 else kernel.transpose(2, 3, 1, 0)
        parts = [tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        layers[name] = fold(kernel, parts, epsilon)
    return layers


def _read_zip(stream: IO[bytes]) -> Any:
    with zipfile.ZipFile(stream) as archive:
        (pickled,) = [name for name in archive.namelist() if name.split("/", 1)[-1] == "data.pkl"]
        with archive.open(pickled) as description:
            return _ZipUnpickler(description, archive, pickled.removesuffix("data.pkl")).load()


def _read_old(stream: IO[bytes], size: int) -> Any:
    """Read the older format: magic number, version, facts of the machine, tensors, keys of storages, storages."""
    storages: dict[str, Array] = {}
    magic, version, machine, tensors, keys = [_OldUnpickler(stream, storages, size).load() for _ in range(5)]
    if (magic, version) != (_OLD_MAGIC, _OLD_VERSION) or machine["little_endian"] is not True:
        raise pickle.UnpicklingError("it was not saved by torch on a usual machine")
    if sorted(keys) != sorted(storages):
        raise pickle.UnpicklingError("its tensors do not fit its storages")
    for key in keys:
        storage = storages[key]
        (n,) = struct.unpack("<q", stream.read(8).ljust(8, b"\xff"))
        if n != len(storage) or stream.readinto(storage.view(np.uint8)) != storage.nbytes:  # type: ignore[attr-defined]
            raise pickle.UnpicklingError(f"the storage {key} does not have its {len(storage)} values")
    return tensors


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and nothing else. They are views of their storages."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]  # a string, because a pickle could alter a dtype
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a tensor")

    def persistent_load(self, pid: Any) -> Array:
        kind, dtype, key, _, n, *view = pid
        is_storage = kind == "storage" and dtype in _DTYPES.values() and view in ([], [None])
        if not is_storage or not str(key).isalnum() or not isinstance(n, int) or n < 0:
            raise pickle.UnpicklingError(f"{pid!r} is not a storage")
        return self._storage(str(key), np.dtype(dtype), n)

    @abstractmethod
    def _storage(self, key: str, dtype: np.dtype[Any], n: int) -> Array:
        """Return the storage of that key, of ``n`` values."""


class _ZipUnpickler(_Unpickler):
    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive, self._folder = archive, folder

    def _storage(self, key: str, dtype: np.dtype[Any], n: int) -> Array:
        name = f"{self._folder}data/{key}"
        if self._archive.getinfo(name).file_size != n * dtype.itemsize:
            raise pickle.UnpicklingError(f"the storage {key} does not have its {n} values")
        return np.frombuffer(self._archive.read(name), dtype)


class _OldUnpickler(_Unpickler):
    """Makes empty storages, whose values follow later in the file. Together they are at most ``size`` bytes."""

    def __init__(self, stream: IO[bytes], storages: dict[str, Array], size: int) -> None:
        super().__init__(stream)
        self._storages, self._size = storages, size

    def _storage(self, key: str, dtype: np.dtype[Any], n: int) -> Array:
        if key not in self._storages:
            if n * dtype.itemsize + sum(storage.nbytes for storage in self._storages.values()) > self._size:
                raise pickle.UnpicklingError(f"the storage {key} is larger than the file")
            self._storages[key] = np.zeros(n, dtype)
        storage = self._storages[key]
        if (storage.dtype, len(storage)) != (dtype, n):
            raise pickle.UnpicklingError(f"the storage {key} is described in two ways")
        return storage


def _tensor(storage: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Array:
    """Return the tensor in a storage; ``strides`` count values, not bytes."""
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    is_inside = min(*shape, *strides, offset, 0) == 0 and (0 in shape or last < len(storage))
    if not is_inside or math.prod(shape) > len(storage):
        raise pickle.UnpicklingError("a tensor extends beyond its storage")
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


def _parameter(tensor: Array, *_: Any) -> Array:
    return tensor
