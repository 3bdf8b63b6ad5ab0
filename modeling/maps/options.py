"""Define the options of a map, and check that they are possible for a dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from hoshina.core.errors import Refusal
from hoshina.core.parsing import MAX_SEED, about

Method = Literal["umap", "tsne", "pca"]
Metric = Literal["euclidean", "cosine"]
# Fewer images than this make no map.
FEWEST = 4
_METHODS = {
    "umap": "UMAP: groups of similar images, and how the groups relate",
    "tsne": "t-SNE: small neighborhoods kept apart; far distances say little",
    "pca": "PCA: the two directions of largest variance; ready at once",
}
_METRICS = {"euclidean": "distance", "cosine": "angle"}


# The options that each method uses, in the order of the form.
HEEDED = {
    "umap": ("n_neighbors", "min_dist", "metric", "seed", "is_supervised"),
    "tsne": ("perplexity", "metric", "seed"),
    "pca": ("metric",),
}


@dataclass(frozen=True)
class MapOptions:
    """The options of a map.

    Attributes
    ----------
    method : ``umap``, ``tsne`` or ``pca``.
    n_neighbors : UMAP: size of the neighborhood of each image, itself included; large values show the global structure,
        small ones the detail.
    min_dist : UMAP: minimum distance of similar images, from 0 (dense clusters) to 0.99 (spread out).
    perplexity : t-SNE: approximate number of neighbors of each image.
    metric : ``euclidean`` distance of embeddings; ``cosine``, their angle only.
    seed : seed of the random generator.
    is_supervised : UMAP: use the labels; images of different classes move apart.
    by_library : accepted from older commands and ignored: umap-learn computes every UMAP.
    name : name of the map; if empty, one is generated.
    is_automatic : started after an embedding job instead of by a person.
    """

    method: Annotated[Method, about("Method", choices=_METHODS)] = "umap"
    n_neighbors: Annotated[int, about("Neighbors", "Few show detail, many the overall shape.", ge=2, le=200)] = 15
    min_dist: Annotated[float, about("Minimum distance", "0 packs clusters, 0.99 spreads them out.", ge=0, le=0.99)] = (
        0.1
    )
    perplexity: Annotated[float, about("Perplexity", "About how many neighbors count.", ge=1, le=100)] = 30.0
    metric: Annotated[Metric, about("Metric", "By distance, or by angle alone.", choices=_METRICS)] = "euclidean"
    seed: Annotated[int, about("Seed", "The same seed gives the same map.", ge=0, le=MAX_SEED)] = 0
    is_supervised: Annotated[bool, about("Use labels: images of different classes move apart")] = False
    by_library: Annotated[bool, about("No effect", "Kept for older scripts.")] = False
    name: Annotated[str, about("Name", "Left empty: the method and a number.", max_length=80)] = ""
    is_automatic: bool = False

    def __post_init__(self) -> None:
        if self.by_library and self.method != "umap":
            raise Refusal("umap-learn computes only UMAP.", field="by_library")
        if self.is_supervised and self.method != "umap":
            raise Refusal("Only UMAP can be supervised.", field="is_supervised")

    def kept(self) -> dict[str, Any]:
        """Return the options that the method uses, for the map's record."""
        # Maps of earlier versions, without by_library, were computed by other code.
        by_library = {"by_library": True} if self.method == "umap" else {}
        automatic = {"is_automatic": True} if self.is_automatic else {}
        return {name: getattr(self, name) for name in HEEDED[self.method] if name != "seed"} | by_library | automatic


def suited(options: MapOptions, n_images: int, fixed: frozenset[str]) -> MapOptions:
    """Return the options with fewer neighbors if there are few images; those in ``fixed`` are not changed."""
    few: dict[str, Any] = {}
    if "n_neighbors" not in fixed:
        few["n_neighbors"] = max(2, min(options.n_neighbors, n_images - 1))
    if "perplexity" not in fixed:
        few["perplexity"] = max(1.0, min(options.perplexity, (n_images - 1) / 3))
    return replace(options, **few)


def require_possible(options: MapOptions, n_images: int, n_classes: int) -> None:
    """Raise ``Refusal`` if the number of embedded images, or of labeled classes, is too small for these options."""
    if n_images < FEWEST:
        raise Refusal(f"A map needs {FEWEST} images with an embedding; there {_are(n_images)}.")
    if options.method == "umap" and options.n_neighbors >= n_images:
        raise Refusal(f"There are {n_images:,} images: choose at most {n_images - 1:,} neighbors.", field="n_neighbors")
    if options.method == "tsne" and 3 * options.perplexity > n_images - 1:
        most = max(1, (n_images - 1) // 3)
        raise Refusal(f"There are {n_images:,} images: choose a perplexity of at most {most:,}.", field="perplexity")
    if options.is_supervised and n_classes < 2:
        raise Refusal("A supervised map needs labels of two classes.", field="is_supervised")


def _are(n: int) -> str:
    return {0: "are none", 1: "is one"}.get(n, f"are {n}")
