"""Show the page on which a class is split, and what a merge changes.

Every step responds with the fresh fragment, with status 422 if it was refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import numpy as np
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest, holder
from hoshina.core.parsing import whole_number
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from hoshina.jobs.presence import missing_worker_message, worker_alive
from labeling.guide.guides import first_frames
from labeling.models import Dataset, Frame, LabelClass
from labeling.views.datasets import remember
from sampling.algorithms.parts import borderline, typical
from sampling.classes.merge import count_predicted, preview_merge
from sampling.classes.review import progress_of, split_to_review
from sampling.classes.split import (
    SHARES,
    Preview,
    apply_split,
    changes_of,
    close_split,
    last_action,
    open_splits,
    preview_of,
    proposal_of,
    rows_of,
    undo_split,
    update_split,
)
from sampling.guide.typical import typical_items
from sampling.models import ClassSplit

N_TYPICAL, N_BORDERLINE = 12, 4
MAX_PARTS = 5
CHANGED = "hoshina:classes"
_KINDS = ("propose_split", "learn_split")


@dataclass(frozen=True)
class PartForm:
    """A proposed part: its size, the name to give it, and pictures."""

    number: int
    name: str
    n: int
    typical: list[Frame]
    borderline: list[Frame]


def _of_class(view: Callable[[HtmxHttpRequest, LabelClass], HttpResponse]) -> Callable[..., HttpResponse]:
    """Call the view with the class of the address; show a refusal in the fragment."""

    @wraps(view)
    def respond(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
        dataset = get_object_or_404(Dataset, slug=slug)
        label = get_object_or_404(LabelClass.objects.active(), dataset=dataset, pk=pk)
        label.dataset = dataset
        try:
            return view(request, label)
        except Refusal as problem:
            return _state(request, label, problem=str(problem), status=422)

    return respond


@require_GET
@_of_class
def page(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Show the page on which a class is split."""
    remember(request, label.dataset)
    return render(request, "sampling/classes/page.html", _context(request, label))


@require_GET
@_of_class
def state(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Show the state of the split: nothing yet, being computed, proposed, or applied."""
    return _state(request, label)


@require_POST
@_of_class
def propose(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Have a worker look for parts (``parts``: how many, 0 as fits)."""
    n_parts = whole_number(request.POST.get("parts", "0"))
    if n_parts not in (0, *range(2, MAX_PARTS + 1)):
        raise Refusal(f"Choose 2 to {MAX_PARTS} parts.")
    params = {"label": label.pk, "n_parts": n_parts}
    enqueue("propose_split", dataset_id=label.dataset_id, params=params, user=request.user)
    return _state(request, label)


@require_POST
@_of_class
def preview(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Show what the split changes with the names and the share of the form."""
    context = {"dataset": label.dataset, "label": label, **_preview_context(request, label, _open(label))}
    return render(request, "sampling/classes/_split_preview.html", context)


@require_POST
@_of_class
def apply(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Split the class as the form says."""
    split = _open(label)
    if split.class_ids:
        raise Refusal("This class was split in the meantime.", "This is its current state.")
    n = apply_split(split, _names(request, split), _share(request), user=request.user, holder=holder(request))
    return _changed(request, label, f"{n:,} label{'' if n == 1 else 's'} changed.")


@require_POST
@_of_class
def learn(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Have a worker learn from the review."""
    enqueue("learn_split", dataset_id=label.dataset_id, params={"split": _applied(label).pk}, user=request.user)
    return _state(request, label)


@require_POST
@_of_class
def update(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Change the labels as learned from the review."""
    n = update_split(_applied(label), user=request.user, holder=holder(request))
    return _changed(request, label, f"{n:,} label{'' if n == 1 else 's'} changed.")


@require_POST
@_of_class
def undo(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Take the newest step of the split back."""
    n = undo_split(_applied(label), user=request.user, holder=holder(request))
    return _changed(request, label, f"{n:,} label{'' if n == 1 else 's'} restored.")


@require_POST
@_of_class
def close(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Close the split: labels stay as they are."""
    close_split(_open(label))
    return _state(request, label)


@require_GET
def merge_preview(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show what merging a class into ``target`` changes; nothing without a target."""
    dataset = get_object_or_404(Dataset, slug=slug)
    label = get_object_or_404(LabelClass.objects.active().select_related("dataset"), dataset=dataset, pk=pk)
    wanted = whole_number(request.GET.get("target")) or 0
    target = LabelClass.objects.active().filter(dataset=dataset, pk=wanted).exclude(pk=pk).first()
    context: dict[str, object] = {"dataset": dataset, "label": label, "target": target}
    if target is not None:
        context["preview"] = preview_merge(label, target)
        context["sides"] = [(side, first_frames(dataset, typical_items(side))) for side in (label, target)]
    return render(request, "sampling/classes/_merge_preview.html", context)


@require_GET
def progress(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show how far the review of a split is, in the form of its queue."""
    dataset = get_object_or_404(Dataset, slug=slug)
    split = split_to_review(dataset, pk)
    if split is None:
        raise Http404("This split was closed or taken back.")
    context = {"dataset": dataset, "split": split, "progress": progress_of(split)}
    return render(request, "sampling/classes/_review_progress.html", context)


# -- The fragment --------------------------------------------------------------------------------------
def _changed(request: HtmxHttpRequest, label: LabelClass, message: str) -> HttpResponse:
    return trigger_client_event(_state(request, label, message=message), CHANGED)


def _state(request: HtmxHttpRequest, label: LabelClass, *, status: int = 200, **context: str) -> HttpResponse:
    return render(request, "sampling/classes/_split.html", _context(request, label) | context, status=status)


def _context(request: HtmxHttpRequest, label: LabelClass) -> dict[str, object]:
    label.refresh_from_db(fields=["n_items"])
    context: dict[str, object] = {
        "dataset": label.dataset,
        "label": label,
        "numbers": range(2, MAX_PARTS + 1),
        "shares": SHARES,
        "classes": LabelClass.objects.active().filter(dataset=label.dataset_id),
    }
    split = open_splits(label).first()
    job = _job(label, split)
    if job is not None and job.is_active:
        missing = "" if worker_alive("interactive") else missing_worker_message("interactive")
        return context | {"job": job, "missing_worker": missing}
    is_newer = job is not None and (split is None or job.created_at > split.created_at)
    if job is not None and is_newer and job.state != Job.State.SUCCEEDED:
        context["problem"] = f"{job.error} {job.hint}".strip() or "The computation stopped. Try again."
    if split is None:
        return context
    context["split"] = split
    if not split.class_ids:
        return context | {"parts": _forms(request, split), **_preview_context(request, label, split)}
    changes = changes_of(split)
    return context | {
        "progress": progress_of(split, changes.n_decided),
        "changes": changes,
        "may_undo": last_action(split) is not None,
    }


def _job(label: LabelClass, split: ClassSplit | None) -> Job | None:
    """Return the newest job about the class and its split."""
    jobs = Job.objects.filter(dataset_id=label.dataset_id, kind__in=_KINDS).order_by("-created_at")[:20]
    for job in jobs:
        if job.params.get("label") == label.pk or (split is not None and job.params.get("split") == split.pk):
            return job
    return None


def _forms(request: HtmxHttpRequest, split: ClassSplit) -> list[PartForm]:
    parts = proposal_of(split)
    names = _names(request, split)
    central, doubtful = typical(parts, N_TYPICAL), borderline(parts, N_BORDERLINE)
    frames = _frames(split, np.concatenate([*central, *doubtful]))
    return [
        PartForm(
            number=part,
            name=names[part],
            n=int((parts.parts == part).sum()),
            typical=[frames[position] for position in central[part].tolist() if position in frames],
            borderline=[frames[position] for position in doubtful[part].tolist() if position in frames],
        )
        for part in range(parts.n_parts)
    ]


def _frames(split: ClassSplit, positions: NDArray[np.int64]) -> dict[int, Frame]:
    """Return the first frame of each of the items at these positions."""
    place = dict(zip(rows_of(split)[positions].tolist(), positions.tolist(), strict=True))
    found = Frame.objects.filter(item__dataset=split.dataset_id, item__row__in=place).select_related("item")
    return {place[frame.item.row]: frame for frame in found.order_by("-pk")}


def _names(request: HtmxHttpRequest, split: ClassSplit) -> list[str]:
    """Return the names in the form, or the class's own name with numbers."""
    usual = [split.label.name, *(f"{split.label.name} {number}" for number in range(2, split.n_parts + 1))]
    return [request.POST.get(f"part{number}", usual[number]) for number in range(split.n_parts)]


def _share(request: HtmxHttpRequest) -> float:
    try:
        share = float(request.POST.get("share", SHARES[1]))
    except ValueError:
        share = -1.0
    if share not in SHARES:
        raise Refusal("Choose how many images to review from the list.")
    return share


def _preview_context(request: HtmxHttpRequest, label: LabelClass, split: ClassSplit) -> dict[str, object]:
    preview: Preview | None = None
    share, refused = SHARES[1], ""
    try:
        share = _share(request)
        preview = preview_of(split, _names(request, split), share)
    except Refusal as problem:
        refused = str(problem)
    return {"preview": preview, "refused": refused, "share": share, "n_predicted": count_predicted(label)}


def _open(label: LabelClass) -> ClassSplit:
    split = open_splits(label).first()
    if split is None:
        raise Refusal("There is no split of this class any more.", "Propose one.")
    return split


def _applied(label: LabelClass) -> ClassSplit:
    split = _open(label)
    if not split.class_ids:
        raise Refusal("This split was taken back in the meantime.", "This is its current state.")
    return split
