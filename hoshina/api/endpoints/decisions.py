"""Save decisions in batches."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from django.http import HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from hoshina.api.common import Id, JsonObject, Slug, StateName, Strict, Text, class_id_of, dataset_of, state_name
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest, holder
from hoshina.core.problems import problem
from hoshina.core.roles import Role, requires
from hoshina.jobs import clock
from labeling.decisions.provenance import MAX_RENDERING, Claim, Shown
from labeling.decisions.save import Request, Result, Saved, Target, apply, with_provenance
from labeling.models import Action, Dataset
from labeling.views.decisions import MAX_ACTIONS, MAX_TARGETS, plausible

router = Router(tags=["Annotations"])
Status = Literal["saved", "repeated", "refused"]
# Of all actions of a request together.
MOST_ITEMS = 10_000
_LONGEST = 30 * 24 * 3600.0


class TargetIn(Strict):
    """Represent an item of a decision."""

    id: Id
    seen: Id = Field(0, description="`annotation` of the item as it was received: newer decisions are conflicts.")
    round: Id | None = Field(None, description="The round in which the item was served.")
    rank: Id | None = Field(None, description="The rank at which it was served.")
    seconds: float | None = Field(None, ge=0, le=_LONGEST, description="Time spent on the item.")
    rendering: Annotated[Text, Field(max_length=MAX_RENDERING)] = Field(
        "", description="How the image was displayed, if not by the dataset's default."
    )


class ActionIn(Strict):
    """One decision about one or several items, which are undone together."""

    uuid: UUID = Field(description="Made by the client. An action that is sent again is not repeated.")
    kind: Literal["assign", "unsure", "skip", "clear", "undo"] = Field(
        description="`assign` a class, mark as `unsure`, `skip`, `clear` the decision, or `undo` the last action."
    )
    items: list[TargetIn] = Field([], max_length=MAX_TARGETS, description="For `undo` empty.")
    class_id: Id | None = Field(None, description="For `assign`: the class by id, or …")
    class_name: Text | None = Field(None, description="… by name.")
    at: datetime | None = Field(None, description="When it was decided; now by default.")
    overwrite: bool = Field(False, description="Replace decisions that others made in the meantime.")
    suggestion_shown: bool | None = Field(None, description="Whether the person saw the prediction.")


class Annotations(Strict):
    """Represent a batch of decisions, saved in order."""

    actions: list[ActionIn] = Field(max_length=MAX_ACTIONS)


class Outcome(BaseModel):
    """Hold the state of an item after a decision."""

    id: int
    annotation: int
    state: StateName
    class_id: int | None
    by: str | None = Field(None, description="Of a conflict: who decided in the meantime.")


class ActionOut(BaseModel):
    """Tell what became of one action."""

    uuid: UUID
    status: Status
    error: str
    items: list[Outcome] = Field(description="The items whose decision was saved.")
    conflicts: list[Outcome] = Field(description="The items whose decision by someone else was not replaced.")
    unconfirmed: list[int] = Field(description="Items that were not served at the round and rank: saved without them.")
    hint: str


class AnnotationsOut(BaseModel):
    """Tell what became of a batch."""

    results: list[ActionOut]
    counts: dict[str, int] = Field(description="The counts of the dataset after the batch.")


@router.post(
    "/datasets/{slug:slug}/annotations", url_name="annotations", response=AnnotationsOut, summary="Save decisions"
)  # fmt: skip
@requires(Role.LABELER)
def annotate(request: HtmxHttpRequest, slug: Slug, body: Annotations) -> Any:
    """Save up to 200 actions in one transaction. Actions reported as saved are on disk.

    Status 409 if someone else decided about an item in the meantime and `overwrite` is false: such items are listed
    in `conflicts` and left as they are; everything else is saved. Status 422 if an action is refused, for example
    because its class was deleted; the other actions are saved. The body of both has the same `results` and `counts`.
    """
    dataset = dataset_of(slug)
    if sum(len(action.items) for action in body.actions) > MOST_ITEMS:
        raise Refusal(f"The actions have more than {MOST_ITEMS:,} items.", "Send several requests.", field="actions")
    requests = _requests(dataset, body.actions)
    requests = with_provenance(dataset, requests, request.user.pk)
    saved = apply(dataset, requests, user=request.user, holder=holder(request))
    answer = AnnotationsOut(results=[_result(result) for result in saved.results], counts=_counts(saved))
    return _problem(answer) or answer


def _requests(dataset: Dataset, actions: list[ActionIn]) -> list[Request]:
    now, class_ids = clock.now(), dict[tuple[int | None, str | None], int | None]()
    requests = []
    for number, action in enumerate(actions):
        kind = Action.Kind(action.kind)
        if not action.items and kind != Action.Kind.UNDO:
            raise Refusal(f"{kind.value} needs at least one item.", field=f"actions.{number}.items")
        named = action.class_id, action.class_name
        if kind == Action.Kind.ASSIGN and named == (None, None):
            hint = "Send class_id or class_name."
            raise Refusal("assign needs a class.", hint, field=f"actions.{number}.class_id")
        if named not in class_ids:
            # An id is checked when the action is saved, so that the other actions are saved all the same.
            class_ids[named] = action.class_id or class_id_of(dataset, None, action.class_name)
        requests.append(
            Request(
                uuid=action.uuid,
                kind=kind,
                at=plausible(action.at, now) if action.at else now,
                label_id=class_ids[named],
                overwrite=action.overwrite,
                targets=tuple({item.id: _target(action, item) for item in action.items}.values()),
            )
        )
    return requests


def _target(action: ActionIn, item: TargetIn) -> Target:
    claim = None
    if item.round is not None or item.rank is not None:
        # No round has the number 0, so half a claim is reported as unconfirmed.
        is_whole = item.round is not None and item.rank is not None
        claim = Claim(item.id, item.round or 0, item.rank or 0) if is_whole else Claim(item.id, 0, 0)
    shown = Shown(suggestion_shown=action.suggestion_shown, rendering=item.rendering)
    return Target(item.id, item.seen, item.seconds, shown, claim)


def _result(result: Result) -> ActionOut:
    return ActionOut(
        uuid=result.uuid,
        status=cast("Status", result.status),
        error=result.error,
        items=[_outcome(shown) for shown in result.items],
        conflicts=[_outcome(shown) for shown in result.conflicts],
        unconfirmed=result.unconfirmed,
        hint=result.hint,
    )


def _outcome(shown: JsonObject) -> Outcome:
    return Outcome(
        id=shown["id"],
        annotation=shown["annotation"],
        state=state_name(shown["state"]),
        class_id=shown["label"],
        by=shown.get("by"),
    )


def _counts(saved: Saved) -> dict[str, int]:
    return {name: count for name, count in saved.counts().items() if name != "classes"}


def _problem(answer: AnnotationsOut) -> HttpResponse | None:
    """Return the problem of a batch that was not saved as a whole; None if it was."""
    conflicts = [shown for result in answer.results for shown in result.conflicts]
    refused = [result for result in answer.results if result.status == "refused"]
    body = answer.model_dump(mode="json")
    if conflicts:
        detail = f"Someone else decided about {len(conflicts):,} of the items in the meantime; these were left."
        hint = "Everything else was saved, see results. To replace their decisions, send overwrite with a new UUID."
        return problem(409, detail, hint=hint, conflicts=[shown.model_dump(mode="json") for shown in conflicts], **body)
    if refused:
        detail = f"{len(refused):,} of {len(answer.results):,} actions were refused. {refused[0].error}"
        return problem(422, detail, hint="The other actions were saved, see results.", **body)
    return None
