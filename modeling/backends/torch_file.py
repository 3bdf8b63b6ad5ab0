"""Read weights from files saved by torch (``torch.save`` of a dictionary of tensors), without torch.

Such a file is a ZIP archive: a pickle that describes the tensors, and the bytes of each storage. Only what describes
tensors is unpickled; anything else is refused, so that a file cannot run code.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_DTYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?",
}  # fmt: skip


def read_tensors(file: Path) -> dict[str, Array]:
    """Return the tensors of a file by name.

    Raises
    ------
    ValueError
        If the file is damaged or contains anything other than a dictionary of dense tensors.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            (pickled,) = [name for name in archive.namelist() if name.split("/", 1)[-1] == "data.pkl"]
            with archive.open(pickled) as stream:
                tensors = _Unpickler(stream, archive, pickled.removesuffix("data.pkl")).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, EOFError, TypeError, IndexError) as error:
        raise ValueError(f"it contains no readable tensors: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, np.ndarray) for value in tensors.values()):
        raise ValueError("it contains no dictionary of tensors")
    return dict(tensors)


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a tensor")

    def persistent_load(self, pid: Any) -> Array:
        kind, dtype, key, _, n = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not str(key).isalnum():
            raise pickle.UnpicklingError(f"{pid!r} is not a storage")
        storage = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)
        if len(storage) != n:
            raise pickle.UnpicklingError(f"the storage {key} has {len(storage)} of {n} values")
        return storage


def _tensor(storage: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Array:
    """Return the tensor in a storage; ``strides`` count values, not bytes."""
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if offset < 0 or min(strides, default=0) < 0 or (0 not in shape and last >= len(storage)):
        raise pickle.UnpicklingError("a tensor extends beyond its storage")
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()


def _parameter(tensor: Array, *_: Any) -> Array:
    return tensor
