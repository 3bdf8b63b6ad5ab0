"""Show the grid and the choice of queue. The workbench includes both by URL and does not depend on this package."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from labeling.display.prefetch import make_ahead
from labeling.display.signed_thumbs import SignedThumbs
from labeling.models import Dataset, Field, LabelClass, State
from modeling.models import EmbeddingSet
from modeling.predictions import active_model
from sampling.classes.review import split_to_review
from sampling.maps.region_filter import region_from, rows_inside
from sampling.models import Round
from sampling.queues.deal import Tile
from sampling.queues.dispatch import StillRanking
from sampling.queues.empty_state import Empty, nothing_left
from sampling.queues.field_controls import control_of, fields_form
from sampling.queues.field_filter import conditions_from
from sampling.queues.held_out_filter import describe, unseen_from
from sampling.queues.histogram import spread_of
from sampling.queues.lease_views import window_of
from sampling.queues.note_filter import note_filter_from
from sampling.queues.note_form import notes_form
from sampling.queues.pull import CHANGED, Filters, n_matching, ranked_rows
from sampling.queues.query import default_state, is_narrow, path_from, query_of_page, whole_of
from sampling.queues.registry import STRATEGIES, BandParams
from sampling.queues.saved_views import lost_classes, views_of
from sampling.queues.serve import Serving, missing_for, order_of, serve, strategy_named
from sampling.queues.similar_examples import examples_of
from sampling.queues.strategy import BadParameter, parse_params
from sampling.queues.tile_html import tiles_html
from sampling.sweeps.banner import Bar, SuspectsBar, bar_of, class_form
from sampling.sweeps.checks import n_waiting

PAGE, LARGEST_PAGE = 60, 240
# Parameters of the URL that the form shows as they are.
_SHOWN_AS_THEY_ARE = ("label", "predicted", "seed", "at_least", "looseness", "loose", "path")
DEFAULT = "auto"


@dataclass(frozen=True)
class Page:
    """One page of the grid."""

    kind: str
    tiles: list[Tile]
    round_id: int | None = None
    next_url: str = ""
    model_version_id: int | None = None
    empty: Empty | None = None
    bar: Bar | None = None
    # How many images pass the filters; None where the queue limits them further.
    n_matching: int | None = None
    # What is shown in place of what the queue promises; "" if it shows that.
    note: str = ""


@require_GET
def grid(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show one page of tiles: of a new pull, or (``round``, ``offset``) further down an existing round."""
    dataset, status = get_object_or_404(Dataset, slug=slug), 200
    try:
        page = _page(request, dataset)
    except StillRanking as job:
        page = Page(kind="", tiles=[], empty=Empty("Ranking the images", str(job), is_waiting=True))
    except (BadParameter, BadRequest) as problem:
        page, status = Page(kind="", tiles=[], empty=Empty("These images can't be shown", str(problem))), 422
    except Refusal as problem:
        page = Page(kind="", tiles=[], empty=Empty(problem.message, problem.hint))
    thumbs = SignedThumbs(dataset, request.session.session_key or "")
    html = tiles_html(
        thumbs, page.tiles, marks="close" if page.bar and not isinstance(page.bar, SuspectsBar) else "check"
    )
    context = {"dataset": dataset, "page": page, "tiles_html": html}
    return render(request, "sampling/queues/_grid.html", context, status=status)


@never_cache
@require_GET
def queues(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the choice of queue, its parameters and the filters."""
    dataset = get_object_or_404(Dataset, slug=slug)
    has_model = active_model(dataset) is not None
    query = query_of_page(request)
    current = query.get("queue") or DEFAULT
    strategy = STRATEGIES.get(current)
    has_vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).exists()
    n_checks = n_waiting(dataset)
    split = split_to_review(dataset, _whole_of(query, "split") if current == "review" else 0)
    options = [
        {
            "name": queue.name,
            "title": f"{queue.title} ({n_checks})" if queue.name == "checks" and n_checks else queue.title,
            "help": queue.help,
            "is_current": queue.name == current,
            "unavailable_reason": (reason := missing_for(queue, has_model=has_model, has_vectors=has_vectors)),
            "is_available": not reason,
        }
        for queue in STRATEGIES.values()
        if queue.is_listed
        or queue.name == current
        or (queue.name == "checks" and n_checks)
        or (queue.name == "review" and split is not None)
    ]
    context = {
        "dataset": dataset,
        "queues": options,
        "choices": [
            {"name": name, "options": values, "chosen": query.get(name) or values[0]}
            for name, values in (strategy.choices.items() if strategy else ())
            # The control of "order" is beside the field to sort by; with a class, the other classes are avoided.
            if name != "order" and not (name == "avoid" and query.get("of"))
        ],
        "help": strategy.help if strategy else "",
        "title": strategy.title if strategy else "Queue",
        "examples": examples_of(dataset, query) if current == "similar" else None,
        "split": split if current == "review" else None,
        "band": _band(dataset, query) if current == "band" and has_model else None,
        "sweep": class_form(dataset, query) if current == "sweep" and has_model else None,
        "is_sweep": strategy is not None and strategy.is_sweep,
        "states": [
            *((state.label, state.display_name.capitalize()) for state in State),
            (CHANGED, "Changed since labeled"),
        ],
        "classes": (classes := list(LabelClass.objects.active().filter(dataset=dataset))),
        "lost_classes": lost_classes(dataset, query, classes),
        "views": views_of(dataset, request.user),
        "chosen": {
            "queue": current,
            **{name: query.get(name, "") for name in _SHOWN_AS_THEY_ARE},
            "state": query.get("state") or default_state(strategy, is_narrow=is_narrow(query)),
        },
        "has_model": has_model,
        "has_vectors": has_vectors,
        "fields": fields_form(dataset, query, current),
        "notes": notes_form(dataset, query),
        "unseen": _unseen_form(dataset, query),
        "region": _region_form(dataset, query),
    }
    return render(request, "sampling/queues/_pane.html", context)


@never_cache
@require_GET
def unlike_groups(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the groups that the person's newest pull of Unlike found, as a fragment of the form."""
    dataset = get_object_or_404(Dataset, slug=slug)
    newest = Round.objects.filter(dataset=dataset, queue="unlike", created_by=request.user).only("params").first()
    sizes = newest.params.get("facts", {}).get("groups", []) if newest else []
    chosen = newest.params.get("group", 1) if newest else 1
    groups = [{"number": number, "n": n, "is_first": number == chosen} for number, n in enumerate(sizes, start=1)]
    return render(request, "sampling/queues/_unlike_groups.html", {"dataset": dataset, "groups": groups})


@require_GET
def field(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the control of one more field to filter by (``field``, its id), as a fragment of the form."""
    dataset = get_object_or_404(Dataset, slug=slug)
    wanted = get_object_or_404(Field, dataset=dataset, pk=_whole(request, "field", 0))
    return render(request, "sampling/queues/_field.html", {"dataset": dataset, "control": control_of(dataset, wanted)})


def _whole_of(query: QueryDict, name: str) -> int:
    return whole_number(query.get(name, "")) or 0


def _unseen_form(dataset: Dataset, query: QueryDict) -> dict[str, Any] | None:
    """Return the filter by held-out predictions as text and as form values, or None without one."""
    with suppress(BadParameter):  # the grid reports the error
        if unseen := unseen_from(query):
            ids = {name: raw for name in ("label", "predicted") if whole_number(raw := query.get(name, "")) is not None}
            names = dict(LabelClass.objects.filter(dataset=dataset, pk__in=ids.values()).values_list("pk", "name"))
            label, predicted = (names.get(int(ids.get(name, 0)), "") for name in ("label", "predicted"))
            params = {**unseen.as_params(), **ids, "state": "any"}
            return {"text": describe(unseen, label, predicted), "params": params, "number": unseen.numbers[-1]}
    return None


def _region_form(dataset: Dataset, query: QueryDict) -> dict[str, Any] | None:
    """Return the region of the map that the grid is limited to, with its number of images, or None without one."""
    with suppress(Refusal):  # the grid reports the error
        if region := region_from(query):
            n = len(rows_inside(dataset, region))
            return {"n": n, "params": region.as_params(), "map_id": region.map_id}
    return None


def _band(dataset: Dataset, query: QueryDict) -> dict[str, Any]:
    """Return the slider's values, the histogram behind it, and the number of unlabeled items in the band."""
    try:
        params = parse_params(STRATEGIES["band"], query.dict())
        filters = Filters(
            region=region_from(query), fields=conditions_from(query), path=path_from(query),
            notes=note_filter_from(query),
        )  # fmt: skip
        spread = spread_of(dataset, params, filters)
    except Refusal as problem:
        return {"params": BandParams(), "problem": str(problem), "bars": [], "n": 0}
    return {"params": params, "problem": "", "bars": spread.bars, "n": spread.n_inside}


def _page(request: HtmxHttpRequest, dataset: Dataset) -> Page:
    n = min(max(_whole(request, "n", PAGE), 1), LARGEST_PAGE)
    me = window_of(request)
    before = dataset.rounds.filter(pk=_whole(request, "round", 0)).first()
    served = serve(
        dataset, me, n, before=before, offset=_whole(request, "offset", 0),
        new_order=lambda: order_of(request.GET, dataset, strategy_named(request.GET.get("queue") or DEFAULT), me, n),
    )  # fmt: skip
    round_, page = served.round_, served.deal
    if not page.tiles:
        return Page(round_.queue, [], round_.pk, empty=nothing_left(dataset, round_, me), n_matching=0)
    coming = ranked_rows(round_)[page.next_offset : page.next_offset + n].tolist()
    make_ahead(dataset.pk, [*(tile.item.row for tile in page.tiles), *coming], me.name)
    return Page(
        kind=round_.queue,
        tiles=page.tiles,
        round_id=round_.pk,
        next_url=_next_url(dataset, served, n),
        model_version_id=page.model.pk if page.model else None,
        bar=bar_of(dataset, round_, len(page.tiles)),
        n_matching=n_matching(round_),
        note=served.note,
    )


def _whole(request: HtmxHttpRequest, name: str, default: int) -> int:
    return whole_of(request.GET, name, default)


def _next_url(dataset: Dataset, served: Serving, n: int) -> str:
    if not served.has_next:
        return ""
    query = urlencode({"round": served.round_.pk, "offset": served.deal.next_offset, "n": n})
    return f"{reverse('sampling:grid', args=[dataset.slug])}?{query}"
