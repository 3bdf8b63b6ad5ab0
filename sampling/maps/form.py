"""Define the form of a new map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django import forms
from django.forms import BoundField

from hoshina.core.errors import Refusal
from hoshina.core.parsing import OptionsForm, options_of
from labeling.models import Dataset
from modeling.maps import projections
from modeling.maps.options import HEEDED, MapOptions
from modeling.models import Projection

_NUMBERS = {"n_neighbors": "{} neighbors", "min_dist": "minimum distance {:g}", "perplexity": "perplexity {:g}"}


class MapForm(OptionsForm):
    """The :class:`~modeling.maps.options.MapOptions` of a new map; options that the method does not use are ignored."""

    options_class = MapOptions
    method = forms.ChoiceField(choices=options_of(MapOptions)["method"].titles, widget=forms.RadioSelect)

    def __init__(self, dataset: Dataset, data: Any = None) -> None:
        super().__init__(data, initial=asdict(MapOptions()), label_suffix="", auto_id="map-new-%s")
        self.dataset = dataset
        for name in ("by_library", "is_automatic"):
            del self.fields[name]
        for name in self._unheeded(str(data.get("method", ""))) if data is not None else ():
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        """Validate the options and add ``options`` for :func:`modeling.maps.projections.start`."""
        cleaned = super().clean() or {}
        method = cleaned.get("method", "")
        for name in self._unheeded(method):
            self.errors.pop(name, None)
        if self.errors:
            return cleaned
        params = {name: cleaned[name] for name in HEEDED[method]}
        params["name"] = " ".join(cleaned["name"].split())
        try:
            cleaned["options"] = projections.checked(self.dataset, method, params)
        except Refusal as problem:
            self.add_error(problem.field if problem.field in self.fields else None, problem.message)
        return cleaned

    def options(self) -> Iterable[tuple[BoundField, str]]:
        """Yield the fields other than method and name, each with the methods that use it."""
        for name in self.fields:
            methods = " ".join(method for method, heeded in HEEDED.items() if name in heeded)
            if methods:
                yield self[name], methods

    def _unheeded(self, method: str) -> list[str]:
        heeded = HEEDED.get(method, ())
        return [name for names in HEEDED.values() for name in names if name not in heeded]


def options_text(projection: Projection) -> str:
    """Describe the options of a map: "UMAP, 15 neighbors, minimum distance 0.1, seed 0"."""
    params = projection.params
    texts = [
        "UMAP by umap-learn" if params.get("by_library") else projection.get_method_display(),
        *(text.format(params[name]) for name, text in _NUMBERS.items() if name in params),
        "cosine" if params.get("metric") == "cosine" else "",
        f"seed {projection.seed}" if projection.method != Projection.Method.PCA else "",
        "with labels" if params.get("is_supervised") else "",
    ]
    return ", ".join(filter(None, texts))
