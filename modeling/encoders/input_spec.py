"""What an encoder sees of an item: one picture, or several frames that become one vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from labeling.images.composite import Composition
from labeling.images.rendering import DEFAULT, Rendering

if TYPE_CHECKING:
    # No Django here: the program that goes out with a quick training knows what the training saw by this class.
    from labeling.models import Dataset


@dataclass(frozen=True)
class InputSpec:
    """How the images of a dataset are seen. ``roles``: of its items' frames, in order, where these are several."""

    rendering: Rendering = DEFAULT
    roles: tuple[str, ...] = ()
    composition: Composition = field(default_factory=Composition)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        return cls(dataset.shown_as, tuple(dataset.roles), dataset.composed_as)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """From what :meth:`as_params` gave."""
        rendering = Rendering.from_params(params.get("rendering"))
        return cls(rendering, tuple(params.get("roles", ())), Composition.from_params(params.get("composition")))

    def as_params(self) -> dict[str, Any]:
        """For JSON."""
        params: dict[str, Any] = {"rendering": self.rendering.as_params()}
        if self.roles:
            params |= {"roles": list(self.roles), "composition": self.composition.as_params()}
        return params

    @property
    def is_file_by_file(self) -> bool:
        """Whether each picture that is encoded is that of one file."""
        return not self.roles or self.has_parts

    @property
    def has_parts(self) -> bool:
        """Whether each frame gets a vector of its own first."""
        return bool(self.roles) and not self.composition.is_color

    @property
    def is_concatenated(self) -> bool:
        return self.has_parts and self.composition.vectors == "concatenate"

    @property
    def key(self) -> str:
        """A short name of what vectors depend on, for fingerprints; "" for single images as they are usually shown."""
        if not self.roles:
            return self.rendering.key
        # An average is the same whatever the frames are called.
        roles = [] if self.has_parts and not self.is_concatenated else self.roles
        # What stands for a missing frame is part of what a vector means.
        filled = ["mean of the role"] if self.is_concatenated else []
        told = json.dumps([self.rendering.key, self.composition.vector_key, roles, *filled])
        return hashlib.blake2b(told.encode(), digest_size=5).hexdigest()

    def width(self, dim: int) -> int:
        """The length of an item's vector by an encoder of ``dim`` values."""
        return dim * len(self.roles) if self.is_concatenated else dim
