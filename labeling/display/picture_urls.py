"""Build the URLs of an item's pictures: ``/api/thumb/{item_id}`` and ``/api/file/{item_id}``."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlencode

from django.urls import get_script_prefix, reverse

from labeling.display.item_frames import ItemFrames
from labeling.models import Dataset, Frame


def thumb_url(frame: Frame, dataset: Dataset) -> str:
    """Return the URL of the frame's thumbnail, which browsers may cache forever."""
    return _of_frame("labeling:thumb", frame, dataset)


def file_url(frame: Frame, dataset: Dataset) -> str:
    """Return the URL of the frame's full view, which browsers may cache forever."""
    return _of_frame("labeling:file", frame, dataset)


def color_thumb_url(item: ItemFrames) -> str:
    """Return the URL of the thumbnail of the item's color image."""
    return _of_colors("labeling:thumb", item)


def color_file_url(item: ItemFrames) -> str:
    """Return the URL of the item's color image in full size."""
    return _of_colors("labeling:file", item)


def _of_frame(view: str, frame: Frame, dataset: Dataset) -> str:
    role = f"{urlencode({'frame': frame.role})}&" if dataset.roles else ""
    return f"{_prefix(view, get_script_prefix())}{frame.item_id}?{role}v={frame.version(dataset.shown_as)}"


def _of_colors(view: str, item: ItemFrames) -> str:
    return f"{_prefix(view, get_script_prefix())}{item.item_id}?color=1&v={item.colour_version}"


@lru_cache(maxsize=8)
def _prefix(view: str, _script_prefix: str) -> str:
    """Return the URL of a view without the item's id, which ends it: a page has hundreds of them."""
    return reverse(view, args=[0]).removesuffix("0")
