"""Tell which display settings apply to the files of a dataset, by their formats."""

from __future__ import annotations

from labeling.models import Dataset, Frame

_FITS = frozenset({"hdu", "first_row"})
_PLANES = frozenset({"plane", "number"})
_DEEP = frozenset({"stretch", "low", "high"})
# Formats whose files have one plane, and those with at most 8 bits per channel (PNG: nearly always).
_ONE_PLANE = frozenset({"JPEG", "PNG", "BMP", "JPEG 2000"})
_EIGHT_BITS = frozenset({"JPEG", "PNG", "BMP", "GIF", "WEBP"})


def not_applicable(dataset: Dataset) -> frozenset[str]:
    """Return the names of the options of a Rendering that change no image of the dataset as far as formats tell."""
    # order_by() because an ordering would make each row distinct.
    formats = set(Frame.objects.filter(dataset=dataset).order_by().values_list("format", flat=True).distinct())
    if not formats:
        return frozenset()
    rules = ((_DEEP, formats <= _EIGHT_BITS), (_PLANES, formats <= _ONE_PLANE), (_FITS, "FITS" not in formats))
    return frozenset().union(*(names for names, holds in rules if holds))
