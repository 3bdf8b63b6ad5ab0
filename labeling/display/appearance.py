"""Define how the images of a dataset are displayed and encoded, as fields of the dataset."""

from __future__ import annotations

from django.db import models

from labeling.images.composite import Composition
from labeling.images.rendering import Rendering


class AppearanceFields(models.Model):
    """Add the fields of a dataset that say how its images are displayed and encoded."""

    # How its images are shown to people and to models, as returned by Rendering.as_params.
    rendering = models.JSONField(default=dict, blank=True, editable=False)
    # The roles of its items' frames in display order; [] if each file is an item.
    roles = models.JSONField(default=list, blank=True, editable=False)
    # How the frames of an item are shown and encoded together, as returned by Composition.as_params.
    composition = models.JSONField(default=dict, blank=True, editable=False)

    class Meta:
        abstract = True

    @property
    def shown_as(self) -> Rendering:
        """Return how its images are displayed."""
        return Rendering.from_params(self.rendering)

    @property
    def composed_as(self) -> Composition:
        """Return how the frames of its items are displayed and encoded together."""
        return Composition.from_params(self.composition)

    @property
    def rendering_summary(self) -> str:
        """Describe how its images are displayed; "" for the default."""
        return "; ".join(filter(None, (self.shown_as.summary, self.composed_as.summary if self.roles else "")))
