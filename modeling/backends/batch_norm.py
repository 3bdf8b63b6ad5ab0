"""Fold batch normalization into the convolution before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Kernel and bias of each convolution, by its name in the file of weights.
Layers = dict[str, tuple[Floats, Floats]]


def fold(
    kernel: NDArray[Any], norm: Sequence[NDArray[Any]], epsilon: float, bias: NDArray[Any] | float = 0.0
) -> tuple[Floats, Floats]:
    """Return kernel and bias of a convolution followed by a normalization.

    ``kernel`` is (height, width, in, out), or (height, width, channels, 1) of a depthwise convolution. ``norm`` has
    gamma, beta, mean and variance, one value for each channel.
    """
    gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in norm)
    factor = gamma / np.sqrt(variance + epsilon)
    folded = kernel * (factor[:, None] if kernel.shape[-1] == 1 else factor)
    return folded.astype(np.float32), (beta + (bias - mean) * factor).astype(np.float32)
