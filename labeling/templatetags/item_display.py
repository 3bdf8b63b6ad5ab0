"""Format numbers and paths for pages, and build the URLs of pictures."""

from __future__ import annotations

from collections.abc import Sequence

from django import template

from labeling.display.item_frames import ItemFrames, item_frames
from labeling.display.picture_urls import color_file_url, file_url, thumb_url
from labeling.images.composite import side_by_side
from labeling.models import Dataset, Frame

register = template.Library()

# Joins emoji; the only invisible character that is legitimate in file names.
_ZERO_WIDTH_JOINER = "\u200d"


@register.filter
def printable(path: object) -> str:
    r"""Return the path on one line: newlines, control and direction marks become ``\n``, ``\u202e`` …"""
    return "".join(
        character
        if character.isprintable() or character == _ZERO_WIDTH_JOINER
        else character.encode("unicode_escape").decode("ascii")
        for character in str(path)
    )


@register.filter
def version(frame: Frame, dataset: Dataset) -> str:
    """Return the version of the frame's picture for its URL, under which it is cached forever."""
    return frame.version(dataset.shown_as)


@register.filter
def may_have_scale(frame: Frame) -> bool:
    """Return whether the format of the file can give the size of a pixel (labeling.images.pixel_scale)."""
    return frame.format in {"FITS", "TIFF", "DICOM"}


@register.filter
def all_frames(frame: Frame, dataset: Dataset) -> ItemFrames | None:
    """Return all frames of the item that a frame stands for; None if each file is an item."""
    if not dataset.roles:
        return None
    return item_frames(dataset, sorted(frame.item.frames.all(), key=lambda each: each.pk))


register.filter("thumb", thumb_url)
register.filter("full_view", file_url)
register.filter("color_view", color_file_url)


@register.filter
def across(roles: Sequence[str]) -> int:
    """Return how many frames of an item are side by side in its tile."""
    return side_by_side(len(roles))[0]


@register.filter
def lines(roles: Sequence[str]) -> int:
    """Return the number of rows of frames in an item's tile."""
    return side_by_side(len(roles))[1]


@register.filter
def grouped(number: int) -> str:
    """Format 1234567 as 1,234,567."""
    return f"{number:,}"


@register.filter
def signed(value: float) -> str:
    """Format −0.514 as −0.51, with a minus sign instead of a hyphen."""
    return f"{value:z.2f}".replace("-", "−")


@register.filter
def percent(share: float) -> str:
    """Format 0.724 as 72 %; values close to 0 or 1 are never rounded to 0 or 100 %."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{share * 100:.0f} %"


@register.filter
def share(value: float) -> str:
    """Format a share in percent, with a decimal where it matters: 0.4 %, 12 %."""
    percents = 100 * value
    return f"{percents:.0f} %" if percents >= 10 or round(percents, 1) == round(percents) else f"{percents:.1f} %"
