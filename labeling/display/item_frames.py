"""Arrange the frames of one item for display: in the order of the dataset's roles, with the missing ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from labeling.images.composite import COLOURS, Composition, side_by_side
from labeling.models import Dataset, Frame


@dataclass(frozen=True)
class RoleFrame:
    """One role of an item, and its frame, if there is one."""

    role: str
    frame: Frame | None
    is_first: bool = False


@dataclass(frozen=True)
class ItemFrames:
    """The frames of an item; ``item_id`` is its id."""

    item_id: int
    dataset: Dataset
    parts: tuple[RoleFrame, ...]

    @cached_property
    def first(self) -> Frame:
        """Return the first frame that exists."""
        return self._present[0]

    @cached_property
    def missing(self) -> list[str]:
        """Return the roles without a frame."""
        return [part.role for part in self.parts if part.frame is None]

    @property
    def across(self) -> int:
        """Return how many frames are side by side, in tiles as elsewhere."""
        return side_by_side(len(self.parts))[0]

    @property
    def lines(self) -> int:
        """Return the number of rows of frames."""
        return side_by_side(len(self.parts))[1]

    @property
    def color_legend(self) -> str:
        """Return which role each color of the color image shows, and which are black because they are missing."""
        wanted = self.composition.bands_of(self.dataset.roles)
        legend = ", ".join(f"{color}: {role}" for color, role in zip(COLOURS, wanted, strict=True))
        absent = [role for role in dict.fromkeys(wanted) if role not in self.bands]
        return f"{legend} ({', '.join(absent)} missing: black here)" if absent else legend

    @property
    def is_small(self) -> bool:
        """Return whether the image has so few pixels that they are displayed as squares."""
        return all(frame.width < 128 for frame in self._present)

    @cached_property
    def bands(self) -> dict[str, Frame]:
        """Return the frames of the color image by role."""
        wanted = self.composition.bands_of(self.dataset.roles)
        return {part.role: part.frame for part in self.parts if part.role in wanted and part.frame is not None}

    @cached_property
    def band(self) -> Frame | None:
        """Return a frame of the color image, which has its size."""
        return next(iter(self.bands.values()), None)

    @property
    def no_colour(self) -> str:
        """Return why there is no color image; "" if there is one."""
        if not self.bands:
            return "none of its bands"
        sizes = {(frame.width, frame.height) for frame in self.bands.values()}
        return "bands of unequal size" if len(sizes) > 1 else ""

    @cached_property
    def colour_hash(self) -> str:
        """Return a hash of 64 digits of what the color image depends on besides the rendering."""
        frames = [f"{role} {frame.picture_hash}" for role, frame in sorted(self.bands.items())]
        wanted = self.composition.bands_of(self.dataset.roles)
        return hashlib.sha256("\n".join([*frames, *wanted, self.composition.picture_key]).encode()).hexdigest()

    @property
    def colour_version(self) -> str:
        """Return the version of the color image for its URL, as :meth:`Frame.version` does."""
        key = self.dataset.shown_as.key
        return f"{self.colour_hash[:12]}-{key}" if key else self.colour_hash[:12]

    @cached_property
    def key(self) -> str:
        """Return a short hash of the item's display, for elements that are kept as long as it does not change."""
        components = [f"{part.role} {part.frame and part.frame.picture_hash}" for part in self.parts]
        components += [self.colour_version, self.dataset.shown_as.key, self.dataset.composed_as.layout]
        return hashlib.sha256("\n".join(components).encode()).hexdigest()[:12]

    @cached_property
    def composition(self) -> Composition:
        """Return the dataset's composition with a color image, whatever its layout is."""
        return replace(self.dataset.composed_as, layout="rgb")

    @cached_property
    def _present(self) -> list[Frame]:
        return [part.frame for part in self.parts if part.frame is not None]


def item_frames(dataset: Dataset, frames: Sequence[Frame]) -> ItemFrames | None:
    """Return the frames of an item if the dataset's items have several; None if each file is an item."""
    if not dataset.roles or not frames:
        return None
    by_role = {frame.role: frame for frame in frames}
    roles = [*dataset.roles, *sorted(by_role.keys() - set(dataset.roles))]
    parts = tuple(RoleFrame(role, by_role.get(role), is_first=at == 0) for at, role in enumerate(roles))
    return ItemFrames(frames[0].item_id, dataset, parts)
