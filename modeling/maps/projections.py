"""Manage the maps of a dataset: start, list, rename and delete them, and keep them up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import chain, count
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Max, Q, QuerySet

from hoshina.core.errors import Refusal
from hoshina.core.parsing import options_of, parse_options
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from modeling.maps.options import FEWEST, MapOptions, require_possible, suited
from modeling.models import EmbeddingSet, Projection

# The map by principal components, which is ready within seconds.
QUICK_LOOK = "Quick look"
# Embeddings that have grown by this factor get a new UMAP map; until then new images are placed on the last one.
GROWTH = 2


def maps_of(dataset: Dataset) -> QuerySet[Projection]:
    """Return the dataset's maps: those of the active embeddings first, then newest first, the quick look last."""
    maps = Projection.objects.filter(dataset=dataset, generation__gt=0).select_related("embedding_set")
    return maps.annotate(is_quick=Q(name=QUICK_LOOK)).order_by("-embedding_set__is_active", "is_quick", "-id")


def jobs_of(dataset: Dataset) -> QuerySet[Job]:
    """Return the queued and running jobs that compute its maps, newest first."""
    jobs = Job.objects.filter(kind="project_map", dataset_id=dataset.pk, state__in=Job.ACTIVE)
    return jobs.order_by("-created_at")


def why_not(dataset: Dataset) -> str:
    """Return why there can be no map yet and what to do about it; "" if there can be one."""
    vectors = _active_set(dataset)
    if vectors is None:
        return "These images have no embeddings yet. Wait until they are computed, or run hoshina embed."
    if vectors.n_vectors < FEWEST:
        return f"A map needs {FEWEST} readable images; so far there are {vectors.n_vectors}."
    return ""


def checked(dataset: Dataset, method: str, params: Mapping[str, Any]) -> MapOptions:
    """Return the options of a new map. Raises ``Refusal``, with ``field`` and message, if they are invalid."""
    values = {name: value for name, value in params.items() if value is not None}
    options = parse_options(MapOptions, {**values, "method": method})
    if problem := why_not(dataset):
        raise Refusal(problem)
    vectors = _active_set(dataset)
    n_images = vectors.n_vectors if vectors else 0
    n_classes = LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).count()
    options = suited(options, n_images, frozenset(values))
    require_possible(options, n_images, n_classes)
    if options.name and Projection.objects.filter(dataset=dataset, name=options.name).exists():
        raise Refusal(f"There is already a map called {options.name!r}.", field="name")
    return options


def start(dataset: Dataset, options: MapOptions, user: User | None = None) -> Job:
    """Start a job that computes a map with :func:`checked` options, or return the one that already computes it.

    If there is no map yet, a quick look is computed first, to have something to look at in the meantime.
    """
    vectors = _active_set(dataset)
    if options.method != "pca" and vectors is not None:
        _quick_look(vectors)
    automatic = asdict(replace(options, is_automatic=True))
    begun = next((job for job in jobs_of(dataset) if job.params == automatic), None)
    return begun or enqueue("project_map", dataset_id=dataset.pk, params=asdict(options), user=user)


def rename(projection: Projection, name: str) -> None:
    """Rename a map. Raises ``Refusal``."""
    option = options_of(MapOptions)["name"]
    name = " ".join(option.parse(name).split())
    if not name:
        raise Refusal(option.refusal, field="name")
    try:
        with transaction.atomic():
            Projection.objects.filter(pk=projection.pk).update(name=name)
    except IntegrityError as error:
        raise Refusal(f"There is already a map called {name!r}.", field="name") from error
    projection.name = name


def delete(projection: Projection) -> None:
    """Delete a map and its file; labels and embeddings stay."""
    projection.delete()


def free_name(dataset: Dataset, options: MapOptions) -> str:
    """Return a name for a map that was given none: its method, with a number if that is taken."""
    title = f"{'Supervised ' if options.is_supervised else ''}{Projection.Method(options.method).label}"
    taken = set(Projection.objects.filter(dataset=dataset, name__startswith=title).values_list("name", flat=True))
    names = chain([title], (f"{title} {number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def maps_after_embedding(dataset_id: int) -> None:
    """Start what new embeddings need: placing new images on existing maps, a quick look, and a UMAP map."""
    vectors = EmbeddingSet.objects.filter(dataset=dataset_id, is_active=True, n_vectors__gte=FEWEST).first()
    if vectors is None:
        return
    maps = Projection.objects.filter(embedding_set=vectors, generation__gt=0)
    if maps.filter(vectors_generation__lt=vectors.generation).exists():
        enqueue("place_on_maps", dataset_id=dataset_id)
    if settings.AUTOMATIC_MAPS:
        _quick_look(vectors)
        umap_if_due(vectors)


def _quick_look(vectors: EmbeddingSet) -> None:
    """Start a map by principal components if these embeddings have no map."""
    if not Projection.objects.filter(embedding_set=vectors, generation__gt=0).exists():
        quick = MapOptions(method="pca", name=QUICK_LOOK)
        enqueue("project_map", dataset_id=vectors.dataset_id, params=asdict(quick))


def umap_if_due(vectors: EmbeddingSet) -> None:
    """Start a UMAP map of embeddings that have none, or that have doubled since the last one was started.

    This happens once for each size: a map that was cancelled or deleted is not started again with the next few images.
    """
    n_mapped = vectors.n_mapped
    if not n_mapped:  # a person may have computed one before maps were started automatically
        theirs = Projection.objects.filter(embedding_set=vectors, method=Projection.Method.UMAP, generation__gt=0)
        n_mapped = theirs.aggregate(most=Max("n_points"))["most"] or 0
    if vectors.n_vectors < max(FEWEST, GROWTH * n_mapped):
        return
    unchanged = EmbeddingSet.objects.filter(pk=vectors.pk, n_mapped=vectors.n_mapped)
    if unchanged.update(n_mapped=vectors.n_vectors):
        options = suited(MapOptions(is_automatic=True), vectors.n_vectors, frozenset())
        enqueue("project_map", dataset_id=vectors.dataset_id, params=asdict(options))


def _active_set(dataset: Dataset) -> EmbeddingSet | None:
    return EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).first()
