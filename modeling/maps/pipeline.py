"""Compute a map: lay out embeddings in the plane. Of very many, only a sample is laid out; others are placed by it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import parse_options
from hoshina.jobs.runner import Run
from labeling.models import Dataset
from modeling import store
from modeling.assistive.training_set import read_training_set
from modeling.encoders.neighbor_cache import NEIGHBOURS, SEED, graph_of, made_graph, principal_components_of, recall_of
from modeling.maps.coordinates import coordinates_of, forget_projection, save_coordinates
from modeling.maps.options import FEWEST, MapOptions, require_possible
from modeling.maps.projections import QUICK_LOOK, free_name
from modeling.models import EmbeddingSet, Projection

if TYPE_CHECKING:
    from modeling.algorithms.neighbors import Graph

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
# More images than this are laid out by a sample.
FIT_AT_MOST = {"umap": 100_000, "tsne": 50_000, "pca": 2**40}
# New images are placed by at most this many others.
PLACE_BY = 100_000
# Number of images on which trustworthiness is measured, and of neighbors.
MEASURED, MEASURED_NEIGHBOURS = 3000, 15
# Largest difference between the principal components of equal embeddings, relative to their length.
ROUNDING = 1e-5
_VECTORS_GONE = "The embeddings of this map were deleted in the meantime."


@dataclass
class _Progress:
    """A reporter of progress that also records the seconds of each stage."""

    run: Run
    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self.run.job.stage:
            self._close()
            self.run.stage(stage, total)
        self.run.progress(done, total)

    def _close(self) -> None:
        now, before = time.perf_counter(), self.run.job.stage
        if before:
            self.seconds[before] = round(self.seconds.get(before, 0) + now - self._since, 3)
        self._since = now


def project_map(run: Run) -> dict[str, Any]:
    """Run the job ``project_map``; its parameters are :class:`~modeling.maps.options.MapOptions`."""
    began, dataset = time.perf_counter(), Dataset.objects.get(pk=run.dataset_id)
    options = parse_options(MapOptions, run.params)
    tell, embedding_set, vectors = _loaded(run)
    if options.is_automatic and (existing := _made_meanwhile(run, embedding_set)):
        return {"projection": existing.pk, "name": existing.name, "method": existing.method, "skipped": True}
    places, facts = _laid_out(dataset, embedding_set, vectors, options, tell)
    tell("Saving the map", 0, 0)
    facts["seconds"] = tell.seconds
    projection = _saved(dataset, embedding_set, vectors, options, places, facts, time.perf_counter() - began)
    if options.is_automatic:
        _forget_older_automatic(projection)
    return {
        "projection": projection.pk,
        "name": projection.name,
        "method": projection.method,
        "points": projection.n_points,
        "fitted": facts["fitted"],
        "trustworthiness": facts["trustworthiness"],
        "seed": options.seed,
        "params": projection.params,
        "stages": facts["seconds"],
        "seconds": round(projection.seconds, 3),
    }


def _loaded(run: Run) -> tuple[_Progress, EmbeddingSet, store.Vectors]:
    """Return what reports the progress, and the active embeddings."""
    # A folder for numba's compiled layout that this program may write to.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(settings.STORE_DIR / "compiled"))
    tell = _Progress(run)
    tell("Loading the embeddings", 0, 0)
    return tell, *store.active_vectors(run.dataset_id)


# -- Fitting -----------------------------------------------------------------------------------------
def _laid_out(
    dataset: Dataset, embedding_set: EmbeddingSet, vectors: store.Vectors, options: MapOptions, tell: _Progress
) -> tuple[Floats, dict[str, Any]]:
    """Return positions (n_rows, 2), NaN without an embedding, and facts about their quality."""
    is_unit = options.metric == "cosine"
    Z = principal_components_of(embedding_set, vectors, tell, is_unit=is_unit)
    embedded = np.flatnonzero(np.isfinite(Z[:, 0])).astype(np.int64)
    training_set = read_training_set(dataset, vectors) if options.is_supervised else None
    require_possible(options, len(embedded), 0 if training_set is None else len(training_set.class_ids))
    _refuse_copies(Z, embedded, 1.0 if is_unit else float(np.linalg.norm(vectors.X[embedded[0]])))
    plane = _plane(Z)
    rng = np.random.default_rng(options.seed)
    fitted = _sample(embedded, FIT_AT_MOST[options.method], rng)
    y = np.full(len(Z), -1, np.int64)
    if training_set is not None:
        y[training_set.rows] = training_set.y
    places = np.full((len(Z), 2), np.nan, np.float32)
    recall: float | None = None
    if options.method == "pca":
        places = plane
    else:
        graph, recall = _graph(embedding_set, vectors, Z, fitted, options, tell)
        places[fitted] = _fit(graph, plane[fitted], y[fitted], options, tell)
    others = np.setdiff1d(embedded, fitted, assume_unique=True)
    _place(Z, fitted, others, places, rng, tell)
    facts = {"fitted": len(fitted), "recall": recall, **_measured(Z, embedded, places, options.seed, tell)}
    return places, facts


def _sample(rows: Rows, most: int, rng: np.random.Generator) -> Rows:
    """Return the ascending ``rows``, or a random sample of them if there are more than ``most``."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _plane(Z: Floats) -> Floats:
    """Return the first two principal components (n, 2); the second is 0 if there is only one."""
    from modeling.algorithms.neighbors import project

    two = project(Z, rng=np.random.default_rng(SEED), dims=2)
    return np.pad(two, ((0, 0), (0, 2 - two.shape[1])))


def _refuse_copies(Z: Floats, embedded: Rows, length: float) -> None:
    """Raise ``Refusal`` if all rows are equal up to rounding; ``length`` is the length of an embedding."""
    first, step = Z[embedded[0]], 100_000
    parts = (Z[embedded[begin : begin + step]] for begin in range(0, len(embedded), step))
    if all((np.abs(part - first) <= ROUNDING * length).all() for part in parts):
        raise Refusal(
            "All images have the same embedding, so there is nothing to lay out.",
            hint="Another encoder may distinguish them: see the page Encoders.",
        )


def _graph(
    embedding_set: EmbeddingSet, vectors: store.Vectors, Z: Floats, fitted: Rows, options: MapOptions, tell: _Progress
) -> tuple[Graph, float | None]:
    """Return the neighbors of the rows to fit, as positions among them; from the shared graph if that suffices."""
    from modeling.algorithms.neighbors import subgraph

    k = options.n_neighbors - 1 if options.method == "umap" else round(3 * options.perplexity)
    k = min(k, len(fitted) - 1)
    is_unit = options.metric == "cosine"
    is_whole = int(np.isfinite(Z[:, 0]).sum()) == len(fitted)
    if k <= NEIGHBOURS and is_whole:
        shared = graph_of(embedding_set, vectors, tell, is_unit=is_unit)
        return subgraph(shared, fitted, k), recall_of(embedding_set, is_unit=is_unit)
    return made_graph(Z[fitted], k, tell, seed=options.seed)


def _fit(graph: Graph, plane: Floats, y: Rows, options: MapOptions, tell: _Progress) -> Floats:
    """Lay out rows by the graph among them: return positions (n, 2).

    ``plane`` (n, 2) is the initial layout; ``y`` (n,) are labels or -1.
    """
    tell("Preparing the layout", 0, 0)  # the first call in a process imports and compiles
    from modeling.algorithms.layouts.initialization import initial_layout, smooth_along_graph

    report = partial(tell, "Laying out the map")
    if options.method == "tsne":
        from modeling.algorithms.layouts import tsne

        start = initial_layout(plane, options.seed)
        return tsne.lay_out(tsne.affinities(graph, options.perplexity), start, on_iteration=report)
    from modeling.backends import umap_learn

    weights = umap_learn.fuzzy_graph(graph, options.n_neighbors)
    start = initial_layout(smooth_along_graph(plane, weights), options.seed)
    if options.is_supervised:
        weights = umap_learn.fuzzy_graph(graph, options.n_neighbors, y)
    return umap_learn.lay_out(weights, start, min_dist=options.min_dist, seed=options.seed, on_epoch=report)


def _place(Z: Floats, fitted: Rows, others: Rows, places: Floats, rng: np.random.Generator, tell: _Progress) -> None:
    """Write the positions of the rows ``others``, from those of the rows ``fitted``; in blocks of bounded memory."""
    if not len(others):
        return
    stage = "Placing the other images"
    tell(stage, 0, len(others))
    from modeling.algorithms.layouts.placement import place_points

    fitted = _sample(fitted, PLACE_BY, rng)
    places[others] = place_points(Z[others], Z[fitted], places[fitted], rng=rng, on_progress=partial(tell, stage))


def _measured(Z: Floats, embedded: Rows, places: Floats, seed: int, tell: _Progress) -> dict[str, Any]:
    """Measure trustworthiness on a sample: the degree to which neighbors on the map are neighbors as embeddings."""
    tell("Measuring the trustworthiness of the map", 0, 0)
    from sklearn.manifold import trustworthiness

    sample = _sample(embedded, MEASURED, np.random.default_rng(seed))
    k = min(MEASURED_NEIGHBOURS, (len(sample) - 1) // 2)
    value = float(trustworthiness(Z[sample], places[sample], n_neighbors=k))
    return {"trustworthiness": round(value, 4), "sample": len(sample), "neighbours": k}


# -- Saving ------------------------------------------------------------------------------------------
def _saved(
    dataset: Dataset,
    embedding_set: EmbeddingSet,
    vectors: store.Vectors,
    options: MapOptions,
    places: Floats,
    facts: dict[str, Any],
    seconds: float,
) -> Projection:
    """Save the map's record and file. A quick look replaces the previous one."""
    if not EmbeddingSet.objects.filter(pk=embedding_set.pk).exists():
        raise Refusal(_VECTORS_GONE, "Start it again.")
    if options.name == QUICK_LOOK:
        Projection.objects.filter(dataset=dataset, name=QUICK_LOOK).delete()
    n_points = int(np.isfinite(places[:, 0]).sum())
    projection = Projection(
        dataset=dataset,
        embedding_set=embedding_set,
        name=options.name,
        method=options.method,
        params=options.kept(),
        seed=options.seed,
        vectors_generation=vectors.generation,
        n_points=n_points,
        n_placed=n_points - facts["fitted"],
        quality=facts,
        seconds=seconds,
    )
    _save_under_a_free_name(projection, options)
    try:
        save_coordinates(projection, places)
    except BaseException:
        projection.delete()
        raise
    return projection


def _made_meanwhile(run: Run, embedding_set: EmbeddingSet) -> Projection | None:
    """Return a UMAP map of these embeddings that a person computed after this automatic one was requested."""
    maps = Projection.objects.filter(embedding_set=embedding_set, method=Projection.Method.UMAP, generation__gt=0)
    newer = maps.filter(created_at__gt=run.job.created_at)
    return next((projection for projection in newer if not projection.params.get("is_supervised")), None)


def _forget_older_automatic(projection: Projection) -> None:
    """Delete older automatic maps, except renamed ones and one that may still be on someone's screen."""
    older = Projection.objects.filter(
        dataset=projection.dataset_id, params__is_automatic=True, pk__lt=projection.pk, name__regex=r"^UMAP( \d+)?$"
    )
    for spare in older.order_by("-pk")[1:]:
        spare.delete()


def _save_under_a_free_name(projection: Projection, options: MapOptions) -> None:
    """Save the map; add a number to its name if that was taken in the meantime, instead of losing the map."""
    while True:
        projection.name = options.name
        if not options.name or _is_taken(projection):
            projection.name = free_name(projection.dataset, options)
        try:
            with transaction.atomic():
                projection.save()
        except IntegrityError:
            if not _is_taken(projection):
                raise Refusal(_VECTORS_GONE, "Start it again.") from None
            continue
        return


def _is_taken(projection: Projection) -> bool:
    return Projection.objects.filter(dataset=projection.dataset_id, name=projection.name).exists()


# -- New images ----------------------------------------------------------------------------------------
def place_on_maps(run: Run) -> dict[str, Any]:
    """Run the job ``place_on_maps``: place new images on the maps of the active embeddings, without a new fit."""
    tell, embedding_set, vectors = _loaded(run)
    maps = Projection.objects.filter(embedding_set=embedding_set, generation__gt=0)
    behind = maps.filter(vectors_generation__lt=vectors.generation)
    return {"placed": sum(_place_new(embedding_set, vectors, projection, tell) for projection in behind)}


def _place_new(embedding_set: EmbeddingSet, vectors: store.Vectors, projection: Projection, tell: _Progress) -> int:
    """Place the new images of the current embeddings on one map. Return their number."""
    Z = principal_components_of(embedding_set, vectors, tell, is_unit=projection.params.get("metric") == "cosine")
    before = coordinates_of(projection)
    places = np.full((len(Z), 2), np.nan, np.float32)
    places[: len(before)] = before[: len(Z)]
    has = np.isfinite(Z[:, 0])
    places[~has] = np.nan
    is_there = np.isfinite(places[:, 0])
    there, new = np.flatnonzero(is_there), np.flatnonzero(has & ~is_there)
    if len(there) >= FEWEST or not len(new):
        _place(Z, there, new, places, np.random.default_rng(projection.seed), tell)
        projection.vectors_generation = vectors.generation
        projection.n_points = int(np.isfinite(places[:, 0]).sum())
        projection.n_placed += len(new)
        _save_again(projection, places)
    return len(new)


def _save_again(projection: Projection, places: Floats) -> None:
    """Save the new positions, unless the map was deleted in the meantime."""
    try:
        with transaction.atomic():
            save_coordinates(projection, places)
            projection.save(update_fields=["vectors_generation", "n_points", "n_placed"])
    except DatabaseError:
        if Projection.objects.filter(pk=projection.pk).exists():
            raise
        forget_projection(projection)
