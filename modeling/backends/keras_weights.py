"""Read the weights that Keras publishes, HDF5 files, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.backends.batch_norm import Layers, fold


def read_layers(file: Path, names: Sequence[str]) -> dict[str, list[NDArray[Any]]]:
    """Return the arrays of each layer that has any, by ``names``, which are in Keras's order of layers.

    As in Keras, the order decides: the names in the file depend on the version of Keras that wrote it.

    Raises
    ------
    OSError, KeyError
        If it is not such a file.
    ValueError
        If it has another number of layers.
    """
    import h5py

    with h5py.File(file) as weights:
        groups = [weights[name] for name in weights.attrs["layer_names"]]
        layers = [[np.asarray(group[name]) for name in group.attrs["weight_names"]] for group in groups]
    return dict(zip(names, filter(None, layers), strict=True))


def fold_convolutions(layers: dict[str, list[NDArray[Any]]], norm_of: Callable[[str], str], epsilon: float) -> Layers:
    """Return each convolution with the normalization ``norm_of`` its name, if not empty, folded in."""
    folded: Layers = {}
    for name, (kernel, *rest) in layers.items():
        if kernel.ndim != 4:
            continue
        bias = rest[0] if rest else np.zeros(kernel.shape[-1], np.float32)
        norm = norm_of(name)
        folded[name] = fold(kernel, layers[norm], epsilon, bias) if norm else (kernel, bias)
    return folded
