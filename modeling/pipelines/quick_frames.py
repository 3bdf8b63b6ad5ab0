"""What a quick training sees of an item: its image, or several files as one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from labeling.framing import side_by_side
from labeling.images.lupton import composite
from labeling.images.opening import ImageProblem, open_image
from labeling.images.rendering import Rendering
from labeling.images.squares import Pixels, squash
from labeling.models import Dataset, Frame
from modeling.seen import Seen

# Of so many files it is asked whether they have colours.
_LOOKED_AT = 8
_CHANNELS = 3
# Where a file is missing: what lies under transparent pixels too.
_GREY = 128


@dataclass(frozen=True)
class Feed:
    """How the files of an item become one input. ``is_grey``: they have no colours, so each can be a channel."""

    seen: Seen = field(default_factory=Seen)
    is_grey: bool = False

    @property
    def has_channels(self) -> bool:
        """Whether each file is a channel: two or three without colours. Of two the first is there twice."""
        return self.seen.has_parts and self.is_grey and len(self.seen.roles) <= _CHANNELS

    @property
    def words(self) -> str:
        """What an input is, where an item has several files; else empty."""
        roles = ", ".join(self.seen.roles)
        if not self.seen.roles:
            return ""
        if not self.seen.has_parts:
            return "It sees the colour image of each item."
        if self.has_channels:
            return f"It sees {roles} as the channels of one image."
        return f"It sees {roles} side by side in one image."

    def pixels(self, files: Mapping[str, Path], side: int) -> Pixels:
        """One input, uint8 (side, side, 3). Raises ImageProblem where none of the files can be read."""
        if not self.seen.roles:
            return squash(_open(next(iter(files.values())), side, self.seen.rendering), side)
        if not self.seen.has_parts:
            image = composite(files, self.seen.roles, self.seen.composition, self.seen.rendering, 2 * side)
            return squash(image, side)
        return self._channels(files, side) if self.has_channels else self._beside(files, side)

    def _channels(self, files: Mapping[str, Path], side: int) -> Pixels:
        parts = self._parts(files, side, side)
        roles = [*self.seen.roles, *self.seen.roles[:1] * _CHANNELS][:_CHANNELS]
        empty = np.full((side, side), _GREY, dtype=np.uint8)
        return np.stack([parts[role][..., 0] if role in parts else empty for role in roles], axis=-1)

    def _beside(self, files: Mapping[str, Path], side: int) -> Pixels:
        across, down = side_by_side(len(self.seen.roles))
        width, height = side // across, side // down
        whole = np.full((side, side, 3), _GREY, dtype=np.uint8)
        parts = self._parts(files, width, height)
        for number, role in enumerate(self.seen.roles):
            if role in parts:
                top, left = number // across * height, number % across * width
                whole[top : top + height, left : left + width] = parts[role]
        return whole

    def _parts(self, files: Mapping[str, Path], width: int, height: int) -> dict[str, Pixels]:
        """Those of the files that can be read, uint8 (height, width, 3), by role."""
        parts: dict[str, Pixels] = {}
        problem = ImageProblem("None of its files is there.")
        for role, file in files.items():
            try:
                parts[role] = squash(_open(file, max(width, height), self.seen.rendering), width, height)
            except ImageProblem as this:
                problem = this
        if not parts:
            raise problem
        return parts


def feed_of(dataset: Dataset) -> Feed:
    """What a training of this dataset sees; looks into some files where an item has several."""
    seen = Seen.of(dataset)
    return Feed(seen, seen.has_parts and _are_grey(dataset, seen))


def _are_grey(dataset: Dataset, seen: Seen) -> bool:
    frames = Frame.objects.filter(dataset=dataset, item__is_available=True, role__in=seen.roles).order_by("pk")
    for path in frames.values_list("path", flat=True)[:_LOOKED_AT]:
        try:
            pixels = np.asarray(_open(dataset.data_dir / path, 64, seen.rendering))
        except ImageProblem:
            continue
        if (pixels != pixels[..., :1]).any():
            return False
    return True


def _open(file: Path, side: int, rendering: Rendering) -> Image.Image:
    return open_image(file, max_side=2 * side, rendering=rendering)
