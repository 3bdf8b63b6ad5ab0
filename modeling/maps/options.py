"""What a map can be asked for, and what of it is impossible with the images at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

Method = Literal["umap", "tsne", "pca"]
Metric = Literal["euclidean", "cosine"]
# Fewer images make no map.
FEWEST = 4
MAX_NEIGHBOURS, MAX_PERPLEXITY, MAX_NAME = 200, 100.0, 80


class OptionError(ValueError):
    """A value that no map could have; ``field`` is the option (or empty), ``words`` say what is wrong."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(f"{field}: {words}" if field else words)
        self.field = field
        self.words = words


@dataclass(frozen=True)
class MapOptions:
    """One map.

    Attributes
    ----------
    method : ``umap``, ``tsne`` or ``pca``.
    n_neighbors : UMAP: how many images, itself among them, each is held together with; more show the whole, fewer
        the detail.
    min_dist : UMAP: how close together alike images may lie, from 0 (clumps) to 0.99 (spread out).
    perplexity : t-SNE: how many neighbours each image has, about.
    metric : ``euclidean``, by the distance of vectors; ``cosine``, by their angle alone.
    seed : decides what chance decides.
    is_supervised : UMAP: labels have a say; images of different classes move apart.
    by_library : accepted from older commands and without effect: umap-learn lays out every UMAP.
    name : what the map is called; empty: a name of its own.
    is_automatic : begun after an embedding rather than by a person.
    """

    method: Method = "umap"
    n_neighbors: int = 15
    min_dist: float = 0.1
    perplexity: float = 30.0
    metric: Metric = "euclidean"
    seed: int = 0
    is_supervised: bool = False
    by_library: bool = False
    name: str = ""
    is_automatic: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise OptionError("method", "Choose umap, tsne or pca.")
        if self.metric not in get_args(Metric):
            raise OptionError("metric", "Choose euclidean or cosine.")
        _whole("n_neighbors", self.n_neighbors, 2, MAX_NEIGHBOURS)
        _number("min_dist", self.min_dist, 0, 0.99)
        _number("perplexity", self.perplexity, 1, MAX_PERPLEXITY)
        _whole("seed", self.seed, 0, 2**31 - 1)
        if not isinstance(self.is_supervised, bool):
            raise OptionError("is_supervised", "Say yes or no.")
        if not isinstance(self.by_library, bool):
            raise OptionError("by_library", "Say yes or no.")
        if self.by_library and self.method != "umap":
            raise OptionError("by_library", "umap-learn makes UMAP only.")
        if self.is_supervised and self.method != "umap":
            raise OptionError("is_supervised", "Labels have a say in UMAP only.")
        if not isinstance(self.name, str) or len(self.name) > MAX_NAME or "\x00" in self.name:
            raise OptionError("name", f"Give a name of at most {MAX_NAME} characters.")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> MapOptions:
        """The options that a job's parameters name, defaults for the others. Raises ``OptionError``."""
        known = {field.name for field in fields(cls)}
        for name in params:
            if name not in known:
                raise OptionError(name, "There is no such option.")
        return cls(**params)

    def as_params(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_params` makes the same options."""
        return asdict(self)

    def kept(self) -> dict[str, Any]:
        """The options that its method heeds, for the map's record."""
        heeded = {
            "umap": ("n_neighbors", "min_dist", "metric", "is_supervised"),
            "tsne": ("perplexity", "metric"),
            "pca": ("metric",),
        }[self.method]
        # Maps of earlier versions without it were laid out by other code.
        by_library = {"by_library": True} if self.method == "umap" else {}
        automatic = {"is_automatic": True} if self.is_automatic else {}
        return {name: getattr(self, name) for name in heeded} | by_library | automatic


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


def _whole(field: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise OptionError(field, f"Give a whole number from {least} to {most}.")


def _number(field: str, value: object, least: float, most: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise OptionError(field, f"Give a number from {least:g} to {most:g}.")
