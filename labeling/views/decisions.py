"""Save batches of decisions sent as JSON, and respond to each action."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from sys import float_info
from typing import Annotated, Any

import msgspec
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest, holder
from hoshina.core.roles import Role, requires
from hoshina.jobs import clock
from labeling.decisions import sql as decision_sql
from labeling.decisions.provenance import MAX_RENDERING, OPENED, Claim
from labeling.decisions.save import Request, Shown, Target, apply, with_provenance
from labeling.models import Action

MAX_ACTIONS = 200
MAX_TARGETS = 2000
_WHOLE: Any = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None
_FINITE: Any = Annotated[float, msgspec.Meta(ge=-float_info.max, le=float_info.max)] | None


@requires(Role.LABELER)
@require_POST
def annotate(request: HtmxHttpRequest, slug: str) -> JsonResponse:
    """Save a batch of actions. Those reported as saved are on disk.

    A label is never lost because of its provenance: labels of items that the server did not show are saved without any,
    and listed in the response (``unconfirmed``).
    """
    dataset = decision_sql.dataset_of_slug(slug)
    if dataset is None:
        raise Http404("There is no such dataset.")
    try:
        requests = _requests(request)
    except Refusal as error:
        return JsonResponse({"error": str(error)}, status=400)
    requests = with_provenance(dataset, requests, request.user.pk)
    saved = apply(dataset, requests, user=request.user, holder=holder(request))
    return JsonResponse({"results": [result.as_json() for result in saved.results], "counts": saved.counts()})


def _requests(request: HttpRequest) -> list[Request]:
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise Refusal("The body is not JSON.") from error
    actions = body.get("actions") if isinstance(body, dict) else None
    if not isinstance(actions, list) or len(actions) > MAX_ACTIONS:
        raise Refusal(f'Send {{"actions": […]}} with at most {MAX_ACTIONS} actions.')
    now = clock.now()
    return [_request(action, now) for action in actions]


def _request(action: Any, now: datetime) -> Request:
    if not isinstance(action, dict):
        raise Refusal("Each action must be an object.")
    try:
        kind = Action.Kind(str(action.get("kind")))
        identity = uuid.UUID(str(action.get("uuid")))
        at = datetime.fromisoformat(str(action.get("at")))
    except ValueError as error:
        raise Refusal(f"An action is malformed: {error}.") from error
    if kind not in (*Action.ON_UNDO_STACK, Action.Kind.UNDO):
        raise Refusal(f"{kind.value} is not accepted here.")
    items = action.get("items") or []
    if not isinstance(items, list) or len(items) > MAX_TARGETS:
        raise Refusal(f"An action has a list of at most {MAX_TARGETS} items.")
    targets = {target.item_id: target for target in (_target(item, action) for item in items)}
    if not targets and kind != Action.Kind.UNDO:
        raise Refusal(f"{kind.value} needs at least one item.")
    return Request(
        uuid=identity,
        kind=kind,
        at=plausible(at, now),
        label_id=_whole(action.get("label"), "label"),
        overwrite=action.get("overwrite") is True,
        targets=tuple(targets.values()),
    )


def _target(item: Any, action: dict[str, Any]) -> Target:
    if not isinstance(item, dict):
        raise Refusal("Each item of an action must be an object.")
    item_id = _whole(item.get("id"), "id")
    if item_id is None:
        raise Refusal("An item of an action needs its id.")
    was_visible = action.get("suggestion_shown")
    raw = item.get("shown")
    raw = raw if isinstance(raw, dict) else {}
    queue = str(raw.get("queue") or "")
    return Target(
        item_id=item_id,
        seen=_whole(item.get("seen"), "seen") or 0,
        seconds=_number(item.get("seconds"), "seconds"),
        shown=Shown(
            queue=OPENED if queue == OPENED else "",
            suggestion_shown=was_visible if isinstance(was_visible, bool) else None,
            rendering=str(raw.get("rendering") or "").replace("\x00", "")[:MAX_RENDERING],
        ),
        claim=_claim(item_id, raw, queue),
    )


def _claim(item_id: int, raw: dict[str, Any], queue: str) -> Claim | None:
    """Return where the browser claims to have shown the item; None if it names neither a round nor a queue.

    Pages of older versions also send a score, a model and more, which are ignored. No round has the number 0, so a
    queue without a round is never confirmed.
    """
    round_id, rank = _whole(raw.get("round_id"), "round_id"), _whole(raw.get("rank"), "rank")
    if round_id is None and queue in ("", OPENED):
        return None
    if round_id is None or rank is None:
        return Claim(item_id, 0, 0)
    return Claim(item_id, round_id, rank)


def _whole(value: Any, name: str) -> int | None:
    try:
        number: int | None = msgspec.convert(value, _WHOLE)
    except ValueError as error:
        raise Refusal(f"{name} must be a whole number.") from error
    return number


def _number(value: Any, name: str) -> float | None:
    try:
        number: float | None = msgspec.convert(value, _FINITE)
    except ValueError as error:
        raise Refusal(f"{name} must be a number.") from error
    return number


def plausible(at: datetime, now: datetime) -> datetime:
    """Return the browser's time of the decision in UTC, but never a time in the future, because clocks may be wrong."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    try:
        return min(aware.astimezone(UTC), now)
    except OverflowError as error:
        raise Refusal(f"The time {at} is out of range.") from error
