"""Check a Keras file before Keras opens it: no code, no other files, no more data than its size allows.

Keras's safe mode refuses Lambda layers in ``.keras`` files, but not in ``.h5`` files of every version, and layers that
read other files have been found since. So the configuration may only name layers and functions of Keras itself.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Layers with code in the file or in another library, or that read other files.
_CODE = {"Lambda", "__lambda__", "TFOpLambda", "TensorFlowOpLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"}
_READERS = {"TFSMLayer", "StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"}
_MODULES = re.compile(
    r"keras(\.src)?(\.(layers|models|initializers|activations|regularizers|constraints|dtype_policies|ops|quantizers|"
    r"random|optimizers|losses|metrics|applications\.convnext)(\.\w+)*)?"
)
# Bytes of the unpacked file. Weights hardly shrink when packed: a file that does is a ZIP bomb.
_UNPACKED, _RATIO = 64 * 2**20, 20
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


class UnsafeKerasFile(ValueError):
    """Signal that a file contains what is not allowed; the message says what."""


def require_harmless(path: Path) -> None:
    """Raise UnsafeKerasFile if the file needs code or other files; OSError, ValueError, KeyError if it is damaged."""
    for node in _nodes(json.loads(config_of(path))):
        _require_keras(node)
    if path.suffix.lower() != ".keras":
        _require_own_weights(path)
        return
    with zipfile.ZipFile(path) as archive:
        if _WEIGHTS in archive.namelist():
            with archive.open(_WEIGHTS) as stream:
                _require_own_weights(stream)


def config_of(path: Path) -> str:
    """Return the configuration of a model as JSON. Raises OSError, ValueError and KeyError if there is none."""
    if path.suffix.lower() == ".keras":
        try:
            with zipfile.ZipFile(path) as archive:
                _require_small(path, archive)
                return archive.read(_CONFIG).decode()
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error
    import h5py  # late: the web server opens no models

    with h5py.File(path) as file:
        config = file.attrs["model_config"]
        return config if isinstance(config, str) else bytes(config).decode()


def _require_small(path: Path, archive: zipfile.ZipFile) -> None:
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > max(_UNPACKED, _RATIO * path.stat().st_size):
        raise UnsafeKerasFile(f"it unpacks to {unpacked >> 20:,} MB, far more than its size")


def _nodes(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object of a configuration."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _require_keras(node: dict[str, Any]) -> None:
    """Raise UnsafeKerasFile if a part of the configuration is not a layer or function of Keras."""
    # A name may be registered, such as "Custom>Lambda", or have its module before it.
    names = {re.split(r"[>.]", str(node.get(key) or ""))[-1] for key in ("class_name", "registered_name")}
    if code := names & _CODE:
        raise UnsafeKerasFile(f"its layer {code.pop().strip('_')} contains code")
    if readers := names & _READERS:
        raise UnsafeKerasFile(f"its layer {readers.pop()} may read other files")
    if "class_name" not in node:
        return
    registered = str(node.get("registered_name") or "")
    if ">" in registered and not registered.startswith("keras>"):
        raise UnsafeKerasFile(f"it needs {registered.rpartition('>')[2]}, which is not part of Keras")
    module = node.get("module")
    if module is not None and not _MODULES.fullmatch(str(module)):
        raise UnsafeKerasFile(f"it needs {node['class_name']} of {module}, which is not a layer of Keras")


def _require_own_weights(source: Path | IO[bytes]) -> None:
    """Raise UnsafeKerasFile if weights lie in another file, which HDF5 would read."""
    import h5py

    with h5py.File(source) as file:
        waiting = [file]
        while waiting:
            group = waiting.pop()
            for name in group:
                # Keras writes no links at all. Soft ones could form a circle.
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise UnsafeKerasFile("its weights are links")
                value = group[name]
                if isinstance(value, h5py.Dataset):
                    if value.external or value.is_virtual:
                        raise UnsafeKerasFile("its weights are in another file")
                elif isinstance(value, h5py.Group):
                    waiting.append(value)
