"""Define the signals that this app sends to the apps above, and the one value that it requests from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.dispatch import Signal

if TYPE_CHECKING:
    from labeling.models import Dataset

# Sent with dataset_id= after an ingest job succeeded.
ingested = Signal()
# Sent with dataset_id= after the display settings of a dataset changed.
reshown = Signal()
# Sent with dataset_id= before all items of a dataset are created anew: arrays by row are then invalid.
regrouped = Signal()
# Sent with dataset_id= and n_decisions= (so far) after a committed batch of decisions, and after a class was retired.
decided = Signal()

EncoderSide = Callable[["Dataset"], int | None]
_encoder_sides: list[EncoderSide] = []


def register_encoder_side(function: EncoderSide) -> None:
    """Register the function behind :func:`encoder_side`; registering again replaces it."""
    _encoder_sides[:] = [function]


def encoder_side(dataset: Dataset) -> int | None:
    """Return the side of the square that an encoder will request for each file (labeling.images.encoder_inputs)."""
    return _encoder_sides[0](dataset) if _encoder_sides else None
