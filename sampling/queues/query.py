"""Parse the query of a workbench URL into the filters of a pull."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import BadRequest
from django.http import QueryDict

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from labeling.models import Dataset, State
from sampling.maps.region_filter import region_from
from sampling.queues.field_filter import check, conditions_from
from sampling.queues.held_out_filter import unseen_from
from sampling.queues.note_filter import note_filter_from
from sampling.queues.pull import CHANGED, Filters
from sampling.queues.strategy import Strategy

LONGEST_PATH = 200
_STATES: dict[str, State | None] = {
    "unlabelled": State.UNLABELLED,
    "labelled": State.LABELLED,
    "unsure": State.UNSURE,
    "skipped": State.SKIPPED,
    "any": None,
    CHANGED: None,
}


def filters_of(query: QueryDict, dataset: Dataset, strategy: Strategy) -> Filters:
    """Return the filters in the query of a URL. Raises BadParameter or BadRequest, with a text to show."""
    fields = conditions_from(query)
    check(dataset, fields)
    predicted_id = whole_of(query, "predicted", 0) or None
    region, notes, path = region_from(query), note_filter_from(query), path_from(query)
    if strategy.is_sweep:  # labeled items must not be relabeled by the page, except for checks to confirm
        state = None if strategy.name == "checks" else State.UNLABELLED
        return Filters(state, None, predicted_id, region=region, fields=fields, path=path, notes=notes)
    label_id = whole_of(query, "label", 0) or None
    unseen = unseen_from(query)
    name = query.get("state") or default_state(strategy, is_narrow=is_narrow(query))
    if name not in _STATES:
        raise BadRequest(f"state must be one of {', '.join(_STATES)}, not {name!r}.")
    return Filters(_STATES[name], label_id, predicted_id, unseen, region, fields, name == CHANGED, path, notes)


def path_from(query: QueryDict) -> str:
    """Return the text that paths have to contain. Raises BadRequest if it is too long."""
    text = query.get("path", "").replace("\x00", "").strip()
    if len(text) > LONGEST_PATH:
        raise BadRequest(f"The text to find in paths has {len(text):,} characters. Use at most {LONGEST_PATH}.")
    return text


def default_state(strategy: Strategy | None, *, is_narrow: bool) -> str:
    """Return the state that a queue shows by default; ``is_narrow`` with a filter of :func:`is_narrow`."""
    if strategy is not None and strategy.needs_held_out:
        return "labelled"
    if strategy is not None and strategy.name in {"checks", "review"}:
        return "any"  # also items decided once, with another class than the sweep or the split
    return "any" if is_narrow or (strategy is not None and not strategy.deals) else "unlabelled"


def is_narrow(query: QueryDict) -> bool:
    """Return whether the query has a filter that applies to images in any state unless it names one."""
    return any(query.get(name) for name in ("label", "path", "flagged", "tag", "noted", "note", "rows"))


def whole_of(query: QueryDict, name: str, default: int) -> int:
    """Return a whole number of the query. Raises BadRequest for other text."""
    raw = query.get(name, "")
    if not raw:
        return default
    number = whole_number(raw)
    if number is None:
        raise BadRequest(f"{name} must be a whole number, not {raw[:40]!r}.")
    return number


def query_of_page(request: HtmxHttpRequest) -> QueryDict:
    """Return the query of the page's current URL, which may have changed since the page was rendered."""
    if request.GET or not request.htmx.current_url:
        return request.GET
    return QueryDict(urlsplit(request.htmx.current_url).query)
