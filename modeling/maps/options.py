"""What a map can be asked for, and what of it is impossible with the images at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from msgspec import Meta

from hoshina.core.parsing import OptionError

Method = Literal["umap", "tsne", "pca"]
Metric = Literal["euclidean", "cosine"]
# Fewer images make no map.
FEWEST = 4
MAX_NEIGHBOURS, MAX_PERPLEXITY, MAX_NAME = 200, 100.0, 80


# Which options a method heeds, in the order of the form.
HEEDED = {
    "umap": ("n_neighbors", "min_dist", "metric", "seed", "is_supervised"),
    "tsne": ("perplexity", "metric", "seed"),
    "pca": ("metric",),
}


@dataclass(frozen=True)
class MapOptions:
    """One map. ``by_library`` has no effect: umap-learn lays out every UMAP, and older commands ask for it.

    ``is_automatic``: begun after an embedding rather than by a person.
    """

    method: Annotated[
        Method,
        Meta(
            title="Method",
            extra={
                "choices": {
                    "umap": "UMAP: alike images in clumps, and how clumps lie to each other",
                    "tsne": "t-SNE: small neighbourhoods kept apart; far distances say little",
                    "pca": "PCA: the two directions in which the images differ most; at once",
                }
            },
        ),
    ] = "umap"
    n_neighbors: Annotated[
        int, Meta(ge=2, le=MAX_NEIGHBOURS, title="Neighbours", description="Few show detail, many the whole.")
    ] = 15
    min_dist: Annotated[
        float,
        Meta(ge=0, le=0.99, title="Least distance", description="0 packs clumps tightly, 0.99 spreads them."),
    ] = 0.1
    perplexity: Annotated[
        float,
        Meta(ge=1, le=MAX_PERPLEXITY, title="Perplexity", description="About how many neighbours an image has."),
    ] = 30.0
    metric: Annotated[
        Metric,
        Meta(
            title="Alike by",
            description="Of their vectors; the angle leaves out lengths.",
            extra={"choices": {"euclidean": "distance", "cosine": "angle"}},
        ),
    ] = "euclidean"
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, title="Seed", description="The same seed makes the same map.")] = 0
    is_supervised: Annotated[bool, Meta(title="Labels have a say: images of different classes move apart")] = False
    by_library: Annotated[bool, Meta(title="No effect", description="Kept for older scripts.")] = False
    name: Annotated[
        str, Meta(max_length=MAX_NAME, title="Name", description="Left empty: the method and a number.")
    ] = ""
    is_automatic: bool = False

    def __post_init__(self) -> None:
        if self.by_library and self.method != "umap":
            raise OptionError("by_library", "umap-learn makes UMAP only.")
        if self.is_supervised and self.method != "umap":
            raise OptionError("is_supervised", "Labels have a say in UMAP only.")

    def kept(self) -> dict[str, Any]:
        """The options that its method heeds, for the map's record."""
        # Maps of earlier versions without it were laid out by other code.
        by_library = {"by_library": True} if self.method == "umap" else {}
        automatic = {"is_automatic": True} if self.is_automatic else {}
        return {name: getattr(self, name) for name in HEEDED[self.method] if name != "seed"} | by_library | automatic


def suited(options: MapOptions, n_images: int, given: frozenset[str]) -> MapOptions:
    """The same with fewer neighbours where there are few images; what was ``given`` stays."""
    few: dict[str, Any] = {}
    if "n_neighbors" not in given:
        few["n_neighbors"] = max(2, min(options.n_neighbors, n_images - 1))
    if "perplexity" not in given:
        few["perplexity"] = max(1.0, min(options.perplexity, (n_images - 1) / 3))
    return replace(options, **few)


def require_possible(options: MapOptions, n_images: int, n_classes: int) -> None:
    """Raises ``OptionError`` where so many images with a vector, and classes with a label, make no such map."""
    if n_images < FEWEST:
        raise OptionError("", f"A map takes {FEWEST} images with a vector; there {_are(n_images)}.")
    if options.method == "umap" and options.n_neighbors >= n_images:
        raise OptionError("n_neighbors", f"There are {n_images:,} images: choose at most {n_images - 1:,} neighbours.")
    if options.method == "tsne" and 3 * options.perplexity > n_images - 1:
        most = max(1, (n_images - 1) // 3)
        raise OptionError("perplexity", f"There are {n_images:,} images: choose a perplexity of at most {most:,}.")
    if options.is_supervised and n_classes < 2:
        raise OptionError("is_supervised", "Labels can have a say when two classes have some.")


def _are(n: int) -> str:
    return {0: "are none", 1: "is one"}.get(n, f"are {n}")
