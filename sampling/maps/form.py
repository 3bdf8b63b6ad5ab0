"""The form of a new map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.forms import BoundField

from labeling.models import Dataset
from modeling.maps import projections
from modeling.maps.options import MAX_NAME, MAX_NEIGHBOURS, MAX_PERPLEXITY, MapOptions, OptionError
from modeling.models import Projection

_METHODS = [
    ("umap", "UMAP: alike images in clumps, and how clumps lie to each other"),
    ("tsne", "t-SNE: small neighbourhoods kept apart; far distances say little"),
    ("pca", "PCA: the two directions in which the images differ most; at once"),
]
_METRICS = [("euclidean", "distance"), ("cosine", "angle")]
# Which options a method heeds, in the order of the form.
HEEDED = {
    "umap": ("n_neighbors", "min_dist", "metric", "seed", "is_supervised"),
    "tsne": ("perplexity", "metric", "seed"),
    "pca": ("metric",),
}


class MapForm(forms.Form):
    """:class:`~modeling.maps.options.MapOptions`, in words."""

    method = forms.ChoiceField(label="Method", choices=_METHODS, initial="umap", widget=forms.RadioSelect)
    n_neighbors = forms.IntegerField(
        label="Neighbours", min_value=2, max_value=MAX_NEIGHBOURS, help_text="Few show detail, many the whole."
    )
    min_dist = forms.FloatField(
        label="Least distance", min_value=0, max_value=0.99, help_text="0 packs clumps tightly, 0.99 spreads them."
    )
    perplexity = forms.FloatField(
        label="Perplexity", min_value=1, max_value=MAX_PERPLEXITY, help_text="About how many neighbours an image has."
    )
    metric = forms.ChoiceField(
        label="Alike by", choices=_METRICS, help_text="Of their vectors; the angle leaves out lengths."
    )
    seed = forms.IntegerField(
        label="Seed", min_value=0, max_value=2**31 - 1, help_text="The same seed makes the same map."
    )
    is_supervised = forms.BooleanField(
        label="Labels have a say: images of different classes move apart", required=False
    )
    name = forms.CharField(
        label="Name", required=False, max_length=MAX_NAME, help_text="Left empty: the method and a number."
    )

    def __init__(self, dataset: Dataset, data: Any = None) -> None:
        usual = MapOptions()
        initial = {name: getattr(usual, name) for name in self.base_fields if name != "name"}
        super().__init__(data, initial=initial, label_suffix="", auto_id="map-new-%s")
        self.dataset = dataset
        if data is not None:  # what the method does not heed is not looked at, however it was left
            for name in self._unheeded(str(data.get("method", ""))):
                self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        """With ``params`` for :func:`modeling.maps.projections.start`, unless something about them can't be."""
        cleaned = super().clean() or {}
        method = cleaned.get("method", "")
        for name in self._unheeded(method):
            self.errors.pop(name, None)
        if self.errors:
            return cleaned
        params = {name: cleaned[name] for name in (*HEEDED[method], "name")}
        params["name"] = " ".join(params["name"].split())
        try:
            projections.checked(self.dataset, method, params)
        except OptionError as problem:
            self.add_error(problem.field if problem.field in self.fields else None, problem.words)
        return cleaned | {"params": params}

    def options(self) -> Iterable[tuple[BoundField, str]]:
        """The fields beside method and name, each with the methods that heed it."""
        for name in self.fields:
            methods = " ".join(method for method, heeded in HEEDED.items() if name in heeded)
            if methods:
                yield self[name], methods

    def _unheeded(self, method: str) -> list[str]:
        heeded = HEEDED.get(method, ())
        return [name for names in HEEDED.values() for name in names if name not in heeded]


def told_options(projection: Projection) -> str:
    """What a map was made with, in words: "UMAP, 15 neighbours, least distance 0.1, seed 0"."""
    kept = projection.params
    words = ["UMAP by umap-learn" if kept.get("by_library") else projection.get_method_display()]
    if "n_neighbors" in kept:
        words.append(f"{kept['n_neighbors']} neighbours")
    if "min_dist" in kept:
        words.append(f"least distance {kept['min_dist']:g}")
    if "perplexity" in kept:
        words.append(f"perplexity {kept['perplexity']:g}")
    if kept.get("metric") == "cosine":
        words.append("by angle")
    if projection.method != Projection.Method.PCA:
        words.append(f"seed {projection.seed}")
    if kept.get("is_supervised"):
        words.append("labels had a say")
    return ", ".join(words)
