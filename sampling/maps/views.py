"""Show the map, and serve what its script requests: points, colors, changes, clusters, and details of a point."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_GET, require_safe
from numpy.typing import NDArray

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
from sampling.maps.clusters_of_map import Summary, parts_of, summaries_of
from sampling.maps.colors import Choice, NotYet, choice_of, choices_of, coloured, label_indexes
from sampling.maps.form import options_text
from sampling.maps.quantized import Drawn, drawn_of
from sampling.queues.pool import UNAVAILABLE, pool_of
from sampling.queues.strategy import BadParameter, Rows
from sampling.sweeps.checks import waiting_among, waiting_rows

MOST_THUMBS = 400
# Transactions may commit in another order than their ids were assigned: read this many ids again.
OVERLAP = 50
# With more changes than this, the page requests all bytes again.
MAX_CHANGES = 5000


@require_safe
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the map of ``?projection=`` or the newest one; ``?row=`` is the point to mark."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    maps = list(projections.maps_of(dataset))
    # A region's map (``map``) is shown unless another one is requested.
    requested = request.GET.get("projection") or request.GET.get("map", "")
    chosen = next((shown for shown in maps if not requested or str(shown.pk) == requested), None)
    context = header_context(dataset) | {
        "projections": maps,
        "projection": chosen,
        "is_gone": bool(requested) and chosen is None,
        **_beyond_quick_look(dataset, maps, chosen),
        "why_not": "" if maps else projections.why_not(dataset),
        "about": options_text(chosen) if chosen else "",
        "row": whole_number(request.GET.get("row"), 9),
        "colorings": choices_of(dataset),
    }
    response = render(request, "sampling/maps/page.html", context)
    if chosen:
        response["X-Map"] = chosen.tag
    return response


def _beyond_quick_look(dataset: Dataset, maps: list[Projection], chosen: Projection | None) -> dict[str, Any]:
    """Return what to offer on the quick look: a better map if there is one, or whether one is being computed."""
    if chosen is None or not chosen.is_quick:  # type: ignore[attr-defined]  # annotated by maps_of
        return {}
    same = (other for other in maps if other.embedding_set_id == chosen.embedding_set_id and other != chosen)
    better = next(same, None)
    jobs = projections.jobs_of(dataset)
    if better is None and chosen.embedding_set.is_active and not jobs.exists():
        projections.umap_if_due(chosen.embedding_set)  # earlier versions of HOSHINA did not start this job
    return {"better": better, "is_making": better is None and jobs.filter(params__method="umap").exists()}


def answers_script(
    view: Callable[[HttpRequest, Projection], HttpResponseBase],
) -> Callable[[HttpRequest, str, int], HttpResponseBase]:
    """Call the view with the map; send refusals as text, and all without caching unless the view says otherwise."""

    @wraps(view)
    def answer(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
        projection = _projection(slug, pk)
        try:
            response = view(request, projection)
        except Refusal as problem:
            status = 422 if isinstance(problem, BadParameter) else 409
            response = HttpResponse(str(problem), status=status, content_type="text/plain; charset=utf-8")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return answer


@require_safe
@answers_script
def points(request: HttpRequest, projection: Projection) -> HttpResponseBase:
    """Serve the coordinates of all rows: pairs of little-endian uint16 (x, y), y up, 65535 twice for no place."""
    drawn = drawn_of(projection)
    square, is_named = drawn.square, request.GET.get("g") == str(projection.generation)
    headers = {
        # The URL of this generation can be cached forever; the next generation has another URL.
        "Cache-Control": f"private, {'max-age=31536000, immutable' if is_named else 'no-cache'}",
        "X-Generation": str(projection.generation),
        "X-Bounds": f"{square.x} {square.y} {square.x + square.side} {square.y + square.side}",
    }
    etag = f'"map-{projection.pk}-{projection.generation}"'
    return _if_changed(request, etag, lambda: drawn.points.astype("<u2", copy=False), headers)


@require_safe
@answers_script
def colours(request: HttpRequest, projection: Projection) -> HttpResponseBase:
    """Serve one byte per row: the index into the legend of ``?by=``."""
    dataset = projection.dataset
    choice = choice_of(dataset, request.GET.get("by", "label"))
    pool, hidden = pool_of(dataset), waiting_rows(dataset)
    version, newest = _version(choice, pool.n_missing, hidden), pool.newest_annotation_id
    headers = {"Cache-Control": "private, no-cache", "X-Version": version, "X-Newest": str(newest)}
    etag = f'"{len(pool.states)}-{version}-{newest if choice.follows_labels else 0}"'
    return _if_changed(request, etag, lambda: coloured(choice, pool, hidden).indexes, headers)


@require_GET
@answers_script
def changes(request: HttpRequest, projection: Projection) -> HttpResponse:
    """Serve the decisions since the annotation ``?since=``, each as ``[row, state, index of the label]``.

    ``version`` is the current one of ``?by=``. If it differs from the version of the page's bytes, or ``is_stale``
    is true, the page requests the bytes and their legend again.
    """
    dataset = projection.dataset
    since = whole_number(request.GET.get("since"))
    if since is None:
        raise BadParameter("since must be the number of an annotation.")
    choice = choice_of(dataset, request.GET.get("by", "label"))
    newest = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    hidden = waiting_rows(dataset)
    version = _version(choice, dataset.n_missing, hidden)
    rows = _changed(dataset, since) if newest != since else []
    is_stale = len(rows) > MAX_CHANGES
    rows = [] if is_stale else rows
    concealed = set(hidden.tolist())
    labels = np.array([0 if row in concealed else label or 0 for row, _, _, label in rows], np.int64)
    classes = list(LabelClass.objects.active().filter(dataset=dataset)) if rows else []
    changed = []
    for (row, is_available, state, _), index in zip(rows, label_indexes(classes, labels).tolist(), strict=True):
        shown = [0 if row in concealed else state, index]
        changed.append([row, *(shown if is_available else [UNAVAILABLE, UNAVAILABLE])])
    return JsonResponse({"newest": newest, "version": version, "is_stale": is_stale, "rows": changed})


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
        pool, hidden = pool_of(dataset), waiting_rows(dataset)
        coloring = coloured(choice, pool, hidden)
        drawn = drawn_of(projection)
    except Refusal as problem:
        context |= {"problem": str(problem), "is_waiting": isinstance(problem, NotYet)}
        status = 422 if isinstance(problem, BadParameter) else 200
        return render(request, "sampling/maps/_legend.html", context, status=status)
    sums = np.concatenate([[0], np.cumsum(_counts(coloring.indexes, drawn))])
    entries = [{"entry": entry, "n": int(sums[entry.last + 1] - sums[entry.first])} for entry in coloring.entries]
    context |= {"legend": coloring, "entries": entries, "version": _version(choice, pool.n_missing, hidden)}
    if not any(entry.first == 0 for entry in coloring.entries):
        context["n_none"] = int(sums[1])
    return render(request, "sampling/maps/_legend.html", context)


def _counts(indexes: NDArray[np.uint8], drawn: Drawn) -> NDArray[np.int64]:
    n = min(len(indexes), len(drawn.points))
    return np.bincount(indexes[:n][drawn.has_place()[:n]], minlength=256)


@require_safe
@answers_script
def clusters(request: HttpRequest, projection: Projection) -> HttpResponse:
    """Serve clusters and gaps as JSON: outlines in the units of the points, counts, and texts."""
    return JsonResponse({"clusters": [_as_json(summary, thumbs) for summary, thumbs in _summaries(projection)]})


@require_GET
def clusters_list(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show the clusters and gaps as a list of links, for use without a pointer."""
    projection = _projection(slug, pk)
    context: dict[str, Any] = {"dataset": projection.dataset, "projection": projection}
    try:
        context["parts"] = [
            {"summary": summary, "thumbs": list(thumbs.values())} for summary, thumbs in _summaries(projection)
        ]
    except StoreError as damaged:
        context["problem"] = str(damaged)
    return render(request, "sampling/maps/_clusters.html", context)


def _summaries(projection: Projection) -> list[tuple[Summary, dict[int, str]]]:
    """Return the clusters and gaps, each with the thumbnail URLs of its examples by row."""
    pool = pool_of(projection.dataset)
    summaries = summaries_of(projection.dataset, parts_of(projection, pool), pool)
    urls = thumbs_of(projection.dataset, [row for summary in summaries for row in summary.part.examples])
    return [(summary, {row: urls[row] for row in summary.part.examples if row in urls}) for summary in summaries]


def _as_json(summary: Summary, thumbs: dict[int, str]) -> dict[str, Any]:
    part = summary.part
    return {
        "id": part.key,
        "kind": part.kind,
        "is_gap": summary.is_gap,
        "name": summary.name,
        "region": part.region,
        "outline": part.corners.tolist(),
        "centre": list(part.centre),
        "n": summary.n,
        "n_labelled": summary.n_labelled,
        "labelled": summary.labelled,
        "what": summary.what,
        "leading": summary.leading.name if summary.leading else "",
        "evidence": summary.evidence,
        "is_predicted": summary.is_predicted,
        "colour": summary.leading.colour if summary.leading else None,
        "thumbs": [{"row": row, "url": url} for row, url in thumbs.items()],
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
@answers_script
def thumbs(request: HttpRequest, projection: Projection) -> HttpResponse:
    """Serve the URLs of thumbnails by row (``?rows=1,2,3``), for when few points are in view."""
    texts = request.GET.get("rows", "").split(",")
    rows = [row for text in texts if (row := whole_number(text)) is not None]
    if len(texts) > MOST_THUMBS or len(rows) < len(texts):
        raise BadParameter(f"rows must be up to {MOST_THUMBS} row numbers, separated by commas.")
    return JsonResponse({"thumbs": thumbs_of(projection.dataset, rows)})


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


def _if_changed(
    request: HttpRequest, etag: str, make: Callable[[], NDArray[Any]], headers: dict[str, str]
) -> HttpResponseBase:
    """Send the array that ``make`` returns, unless the browser has the one of this ``etag``."""
    response = get_conditional_response(request, etag=etag)
    response = response or HttpResponse(make().tobytes(), content_type="application/octet-stream")
    for name, value in {"ETag": etag, **headers}.items():
        response[name] = value
    return response
