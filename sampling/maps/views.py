"""Show the map, and serve what its script requests: points, colors, changes, clusters, and details of a point."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_GET, require_safe

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.core.storage import StoreError
from labeling.display.picture_urls import thumb_url
from labeling.models import Annotation, Dataset, Frame, Item, LabelClass, State
from labeling.views.datasets import remember
from labeling.views.header import header_context
from modeling.maps import projections
from modeling.models import Projection
from modeling.predictions import active_predictions
from sampling.maps.clusters_of_map import Told, parts_of, told_of
from sampling.maps.colors import Choice, NotYet, choice_of, choices_of, coloured, label_indexes
from sampling.maps.quantized import Drawn, drawn_of
from sampling.queues.pool import UNAVAILABLE, pool_of
from sampling.queues.strategy import BadParameter, Rows
from sampling.sweeps.checks import waiting_among, waiting_rows

MOST_THUMBS = 400
# Transactions may commit in another order than their ids were assigned: read this many ids again.
OVERLAP = 50
# With more changes than this, the page requests all bytes again.
MAX_CHANGES = 5000


@dataclass(frozen=True)
class Lack:
    """What to show in place of a map: a title, a text, and whether a map can be computed."""

    title: str
    text: str
    can_start: bool = False


@require_safe
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the map of ``?projection=`` or the newest one; ``?row=`` is the point to mark."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    maps = list(projections.maps_of(dataset))
    # A region's map (``map``) is shown unless another one is requested.
    asked = request.GET.get("projection") or request.GET.get("map", "")
    chosen = next((one for one in maps if str(one.pk) == asked), None) if asked else next(iter(maps), None)
    context = header_context(dataset) | {
        "projections": maps,
        "projection": chosen,
        "is_gone": bool(asked) and chosen is None,
        **_beyond_quick_look(dataset, maps, chosen),
        "empty": None if maps else _lack(dataset),
        "row": whole_number(request.GET.get("row"), 9),
        "colorings": choices_of(dataset),
    }
    response = render(request, "sampling/maps/page.html", context)
    if chosen:
        response["X-Map"] = chosen.tag
    return response


def _beyond_quick_look(dataset: Dataset, maps: list[Projection], chosen: Projection | None) -> dict[str, Any]:
    """Return what to offer on the quick look: a better map if there is one, or the news that it is being computed."""
    if chosen is None or not chosen.is_quick:  # type: ignore[attr-defined]  # annotated by maps_of
        return {}
    better = next((one for one in maps if one.embedding_set_id == chosen.embedding_set_id and one != chosen), None)
    jobs = projections.jobs_of(dataset)
    if better is None and chosen.embedding_set.is_active and not jobs.exists():
        projections.umap_if_due(chosen.embedding_set)  # earlier versions of HOSHINA did not start this job
    return {"better": better, "is_making": better is None and jobs.filter(params__method="umap").exists()}


def _lack(dataset: Dataset) -> Lack:
    if words := projections.why_not(dataset):
        return Lack("No map yet", words)
    return Lack("No map yet", "A map shows all images, with similar images close to each other.", can_start=True)


@require_safe
def points(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """Serve the coordinates of all rows: pairs of little-endian uint16 (x, y), y up, 65535 twice for no place."""
    projection = _projection(slug, pk)
    try:
        drawn = drawn_of(projection)
    except StoreError as damaged:
        return _words(str(damaged), 409)
    etag = f'"map-{projection.pk}-{projection.generation}"'
    square = drawn.square
    headers = {
        "ETag": etag,
        # The URL of this generation can be cached forever; the next generation has another URL.
        "Cache-Control": _kept_for_ever(request, projection),
        "X-Generation": str(projection.generation),
        "X-Bounds": f"{square.x} {square.y} {square.x + square.side} {square.y + square.side}",
    }
    fresh = get_conditional_response(request, etag=etag)
    return _with(fresh or _bytes(drawn.points.astype("<u2", copy=False)), headers)


@require_safe
def colours(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """Serve one byte per row: the index into the legend of ``?by=``."""
    projection = _projection(slug, pk)
    dataset = projection.dataset
    try:
        choice = choice_of(dataset, request.GET.get("by", "label"))
        pool, hidden = pool_of(dataset), waiting_rows(dataset)
        version = _version(choice, pool.n_missing, hidden)
        etag = f'"{len(pool.states)}-{version}-{pool.newest_annotation_id if choice.follows_labels else 0}"'
        headers = {
            "ETag": etag,
            "Cache-Control": "private, no-cache",
            "X-Version": version,
            "X-Newest": str(pool.newest_annotation_id),
        }
        if fresh := get_conditional_response(request, etag=etag):
            return _with(fresh, headers)
        return _with(_bytes(coloured(choice, dataset, pool, hidden).indexes), headers)
    except BadParameter as problem:
        return _words(str(problem), 422)
    except Refusal as why:
        return _words(str(why), 409)


@require_GET
def changes(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Serve the decisions since the annotation ``?since=``, each as ``[row, state, index of the label]``.

    ``version`` is the current one of ``?by=``. If it differs from the version of the page's bytes, or ``is_stale``
    is true, the page requests the bytes and their legend again.
    """
    dataset = _projection(slug, pk).dataset
    since = whole_number(request.GET.get("since"))
    if since is None:
        return _words("since must be the number of an annotation.", 422)
    try:
        choice = choice_of(dataset, request.GET.get("by", "label"))
    except BadParameter as problem:
        return _words(str(problem), 422)
    newest = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    hidden = waiting_rows(dataset)
    version = _version(choice, dataset.n_missing, hidden)
    told: dict[str, Any] = {"newest": newest, "version": version, "is_stale": False}
    rows = _changed(dataset, since) if newest != since else []
    if len(rows) > MAX_CHANGES:
        return _uncached(JsonResponse(told | {"is_stale": True, "rows": []}))
    concealed = set(hidden.tolist())
    rows = [
        (row, is_there, 0, None) if row in concealed else (row, is_there, state, label)
        for row, is_there, state, label in rows
    ]
    labels = np.array([label or 0 for _, _, _, label in rows], np.int64)
    classes = list(LabelClass.objects.active().filter(dataset=dataset)) if rows else []
    indexes = label_indexes(classes, labels).tolist()
    changed = [
        [row, state if is_available else UNAVAILABLE, index if is_available else UNAVAILABLE]
        for (row, is_available, state, _), index in zip(rows, indexes, strict=True)
    ]
    return _uncached(JsonResponse(told | {"rows": changed}))


def _changed(dataset: Dataset, since: int) -> list[tuple[int, bool, int, int | None]]:
    decided = Item.objects.filter(dataset=dataset, annotations__pk__gt=since - OVERLAP).distinct()
    return list(decided.order_by("row").values_list("row", "is_available", "state", "label_id")[: MAX_CHANGES + 1])


@require_GET
def legend(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show the legend with the number of points of each color; each entry is a button that filters."""
    projection = _projection(slug, pk)
    dataset = projection.dataset
    context: dict[str, Any] = {"dataset": dataset, "by": request.GET.get("by", "label")}
    try:
        choice = choice_of(dataset, context["by"])
        pool = pool_of(dataset)
        hidden = waiting_rows(dataset)
        told = coloured(choice, dataset, pool, hidden)
        drawn = drawn_of(projection)
    except BadParameter as problem:
        return render(request, "sampling/maps/_legend.html", context | {"problem": str(problem)}, status=422)
    except Refusal as problem:
        context |= {"problem": str(problem), "is_waiting": isinstance(problem, NotYet)}
        return render(request, "sampling/maps/_legend.html", context)
    sums = np.concatenate([[0], np.cumsum(_counts(told.indexes, drawn))])
    entries = [{"entry": one, "n": int(sums[one.last + 1] - sums[one.first])} for one in told.entries]
    context |= {"legend": told, "entries": entries, "version": _version(choice, pool.n_missing, hidden)}
    if not any(one.first == 0 for one in told.entries):
        context["n_none"] = int(sums[1])
    return render(request, "sampling/maps/_legend.html", context)


def _counts(indexes: np.ndarray[Any, np.dtype[np.uint8]], drawn: Drawn) -> np.ndarray[Any, np.dtype[np.int64]]:
    n = min(len(indexes), len(drawn.points))
    return np.bincount(indexes[:n][drawn.has_place()[:n]], minlength=256)


@require_safe
def clusters(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """Serve clusters and gaps as JSON: outlines in the units of the points, counts, and texts."""
    projection = _projection(slug, pk)
    try:
        told = _parts(projection)
    except StoreError as damaged:
        return _words(str(damaged), 409)
    thumbs = thumbs_of(projection.dataset, [row for one in told for row in one.part.examples])
    return _uncached(JsonResponse({"clusters": [_as_json(one, thumbs) for one in told]}))


@require_GET
def clusters_list(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show the clusters and gaps as a list of links, for use without a pointer."""
    projection = _projection(slug, pk)
    context: dict[str, Any] = {"dataset": projection.dataset, "projection": projection}
    try:
        told = _parts(projection)
    except StoreError as damaged:
        return render(request, "sampling/maps/_clusters.html", context | {"problem": str(damaged)})
    thumbs = thumbs_of(projection.dataset, [row for one in told for row in one.part.examples])
    context["parts"] = [
        {"summary": one, "thumbs": [thumbs[row] for row in one.part.examples if row in thumbs]} for one in told
    ]
    return render(request, "sampling/maps/_clusters.html", context)


def _parts(projection: Projection) -> list[Told]:
    pool = pool_of(projection.dataset)
    return told_of(projection.dataset, parts_of(projection, pool), pool)


def _as_json(told: Told, thumbs: dict[int, str]) -> dict[str, Any]:
    part = told.part
    return {
        "id": part.key,
        "kind": part.kind,
        "is_gap": told.is_gap,
        "name": told.name,
        "region": part.region,
        "outline": part.corners.tolist(),
        "centre": list(part.centre),
        "n": told.n,
        "n_labelled": told.n_labelled,
        "labelled": told.labelled,
        "what": told.what,
        "is_predicted": told.is_predicted,
        "colour": told.leading.colour if told.leading else None,
        "thumbs": [{"row": row, "url": thumbs[row]} for row in part.examples if row in thumbs],
    }


@require_GET
def at(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show the details of one point, for the tooltip."""
    dataset = _projection(slug, pk).dataset
    row = request.GET.get("row", "")
    number = whole_number(row)
    found = Item.objects.none() if number is None else Item.objects.of(dataset).filter(row=number)
    item = found.select_related("label").first()
    context: dict[str, Any] = {"dataset": dataset, "row": row, "item": item}
    if item is None:
        return render(request, "sampling/maps/_point.html", context, status=404)
    # the label must not influence the check
    is_hidden = item.row in waiting_among(dataset.pk, [item.row])
    predictions = None if is_hidden else active_predictions(dataset)
    context |= {
        "frame": item.frames.order_by("pk").first(),
        "label": None if is_hidden else item.label,
        "state": State.UNLABELLED.display_name if is_hidden else State(item.state).display_name,
        "suggestion": predictions.suggestions([item.row])[0] if predictions else None,
    }
    return render(request, "sampling/maps/_point.html", context)


@require_GET
def thumbs(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Serve the URLs of thumbnails by row (``?rows=1,2,3``), for when few points are in view."""
    dataset = _projection(slug, pk).dataset
    asked = request.GET.get("rows", "").split(",")
    rows = [row for text in asked if (row := whole_number(text)) is not None]
    if len(asked) > MOST_THUMBS or len(rows) < len(asked):
        return _words(f"rows must be up to {MOST_THUMBS} row numbers, separated by commas.", 422)
    return _uncached(JsonResponse({"thumbs": thumbs_of(dataset, rows)}))


def thumbs_of(dataset: Dataset, rows: list[int]) -> dict[int, str]:
    """Return the thumbnail URL of each available row in ``rows``, with one query."""
    shown = Frame.objects.filter(item__dataset=dataset, item__row__in=rows, item__is_available=True)
    return {frame.item.row: thumb_url(frame, dataset) for frame in shown.select_related("item").order_by("-pk")}


def _projection(slug: str, pk: int) -> Projection:
    found = Projection.objects.select_related("dataset").filter(dataset__slug=slug, generation__gt=0)
    return get_object_or_404(found, pk=pk)


def _version(choice: Choice, n_missing: int, hidden: Rows) -> str:
    """Return the version of the bytes, which includes the hidden rows: they change when other checks are open."""
    concealed = f"-{zlib.crc32(hidden.tobytes()):x}" if choice.is_telling and len(hidden) else ""
    return f"{choice.by}-{choice.version}-{n_missing}{concealed}"


def _kept_for_ever(request: HttpRequest, projection: Projection) -> str:
    is_named = request.GET.get("g") == str(projection.generation)
    return f"private, {'max-age=31536000, immutable' if is_named else 'no-cache'}"


def _bytes(array: np.ndarray[Any, Any]) -> HttpResponse:
    return HttpResponse(array.tobytes(), content_type="application/octet-stream")


def _with(response: HttpResponseBase, headers: dict[str, str]) -> HttpResponseBase:
    for name, value in headers.items():
        response[name] = value
    return response


def _uncached(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response


def _words(words: str, status: int) -> HttpResponse:
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(words, status=status, content_type="text/plain; charset=utf-8", headers=headers)
