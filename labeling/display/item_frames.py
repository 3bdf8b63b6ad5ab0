"""The frames of one item as they are looked at together: in the order of the dataset's roles, with what is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, sqrt

from labeling.images.composite import Composition, side_by_side
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
        """The first frame that there is."""
        return self._present[0]

    @cached_property
    def missing(self) -> list[str]:
        """The roles without a frame."""
        return [part.role for part in self.parts if part.frame is None]

    @property
    def across(self) -> int:
        """How many frames lie beside each other where there is room, as in a tile."""
        return side_by_side(len(self.parts))[0]

    @property
    def lines(self) -> int:
        """How many rows of frames there are then."""
        return side_by_side(len(self.parts))[1]

    @property
    def narrow(self) -> int:
        """How many frames lie beside each other in a narrow pane, which is about as high as wide."""
        return ceil(sqrt(len(self.parts)))

    @property
    def black_bands(self) -> str:
        """Which bands are black in the colour image because they are missing, in words; "" for none."""
        wanted = dict.fromkeys(self.composition.bands_of(self.dataset.roles))
        absent = [role for role in wanted if role not in self.bands]
        return f"{', '.join(absent)} missing: black here" if absent else ""

    @property
    def is_small(self) -> bool:
        """Whether the pixels are so few that they are seen as squares."""
        return all(frame.width < 128 for frame in self._present)

    @cached_property
    def bands(self) -> dict[str, Frame]:
        """The frames that make up the colour image, by their role."""
        wanted = self.composition.bands_of(self.dataset.roles)
        return {part.role: part.frame for part in self.parts if part.role in wanted and part.frame is not None}

    @cached_property
    def band(self) -> Frame | None:
        """A frame of the colour image, whose size is the image's."""
        return next(iter(self.bands.values()), None)

    @property
    def no_colour(self) -> str:
        """Why there is no colour image, in words; "" where there is one."""
        if not self.bands:
            return "none of its bands"
        sizes = {(frame.width, frame.height) for frame in self.bands.values()}
        return "bands of unequal size" if len(sizes) > 1 else ""

    @cached_property
    def colour_hash(self) -> str:
        """What the colour image depends on besides the rendering, as 64 digits like a file's hash."""
        told = [f"{role} {frame.picture_hash}" for role, frame in sorted(self.bands.items())]
        wanted = self.composition.bands_of(self.dataset.roles)
        return hashlib.sha256("\n".join([*told, *wanted, self.composition.picture_key]).encode()).hexdigest()

    @property
    def colour_version(self) -> str:
        """As :meth:`Frame.version`, for the address of the colour image."""
        key = self.dataset.shown_as.key
        return f"{self.colour_hash[:12]}-{key}" if key else self.colour_hash[:12]

    @cached_property
    def key(self) -> str:
        """A short name of all that can be seen of the item, for elements that stay while it does."""
        told = [f"{part.role} {part.frame and part.frame.picture_hash}" for part in self.parts]
        told += [self.colour_version, self.dataset.shown_as.key, self.dataset.composed_as.layout]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]

    @cached_property
    def composition(self) -> Composition:
        """The dataset's, with a colour image, whatever is usually shown."""
        return replace(self.dataset.composed_as, layout="rgb")

    @cached_property
    def _present(self) -> list[Frame]:
        return [part.frame for part in self.parts if part.frame is not None]


def item_frames(dataset: Dataset, frames: Sequence[Frame]) -> ItemFrames | None:
    """The frames of one item of a dataset whose items have several; None where each file is an item."""
    if not dataset.roles or not frames:
        return None
    by_role = {frame.role: frame for frame in frames}
    roles = [*dataset.roles, *sorted(by_role.keys() - set(dataset.roles))]
    parts = tuple(RoleFrame(role, by_role.get(role), is_first=at == 0) for at, role in enumerate(roles))
    return ItemFrames(frames[0].item_id, dataset, parts)
