"""Describe the input of an encoder: one image per item, or several frames that become one embedding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from labeling.images.composite import Composition
from labeling.images.rendering import DEFAULT, Rendering

if TYPE_CHECKING:
    # Not imported at run time: the program shipped with a quick training uses this class without Django.
    from labeling.models import Dataset


@dataclass(frozen=True)
class InputSpec:
    """How the images of a dataset are prepared for encoders. ``roles``: those of items of several frames, in order."""

    rendering: Rendering = DEFAULT
    roles: tuple[str, ...] = ()
    composition: Composition = field(default_factory=Composition)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        return cls(dataset.shown_as, tuple(dataset.roles), dataset.composed_as)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the specification from the JSON of :meth:`as_params`."""
        rendering = Rendering.from_params(params.get("rendering"))
        return cls(rendering, tuple(params.get("roles", ())), Composition.from_params(params.get("composition")))

    def as_params(self) -> dict[str, Any]:
        """Return the specification as JSON."""
        params: dict[str, Any] = {"rendering": self.rendering.as_params()}
        if self.roles:
            params |= {"roles": list(self.roles), "composition": self.composition.as_params()}
        return params

    @property
    def is_file_by_file(self) -> bool:
        """Return whether each image that is encoded comes from a single file."""
        return not self.roles or self.has_parts

    @property
    def has_parts(self) -> bool:
        """Return whether each frame is encoded on its own."""
        return bool(self.roles) and not self.composition.is_color

    @property
    def is_concatenated(self) -> bool:
        return self.has_parts and self.composition.vectors == "concatenate"

    @property
    def key(self) -> str:
        """Return a short key of what embeddings depend on, for fingerprints; "" for single images rendered as usual."""
        if not self.roles:
            return self.rendering.key
        # An average does not depend on the names of the frames.
        roles = [] if self.has_parts and not self.is_concatenated else self.roles
        # What replaces a missing frame is part of what the embedding means.
        filled = ["mean of the role"] if self.is_concatenated else []
        parts = json.dumps([self.rendering.key, self.composition.vector_key, roles, *filled])
        return hashlib.blake2b(parts.encode(), digest_size=5).hexdigest()

    def width(self, dim: int) -> int:
        """Return the length of an item's embedding from an encoder of ``dim`` values."""
        return dim * len(self.roles) if self.is_concatenated else dim
