"""Show an item: its image, the model's prediction, the decisions about it, and its file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.links import link_to
from hoshina.core.parsing import whole_number
from labeling.decisions.content_changes import CONFIRMATION
from labeling.decisions.provenance import OPENED
from labeling.display.frame_file import inside
from labeling.display.item_frames import item_frames
from labeling.fields.item_values import facts_of
from labeling.guide.guides import guide_of
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.models import Action, Annotation, Dataset, Frame, Item, LabelClass, State
from labeling.views.notes import panel_context

# Decisions shown at a time; older ones are a link away.
HISTORY = 20


@dataclass(frozen=True)
class Decision:
    """A line of the history: the decision, and how the item came to be shown."""

    annotation: Annotation
    description: str
    who: str
    is_undone: bool
    shown: tuple[str, ...]


@require_GET
def page(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the item on its own page, whose URL can be shared."""
    return _show(request, slug, row, "labeling/items/page.html", on_page=True)


@require_GET
def detail(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the item as a fragment, for the workbench's side pane."""
    return _show(request, slug, row, "labeling/items/_detail.html", on_page=False)


def _show(request: HtmxHttpRequest, slug: str, row: int, template: str, *, on_page: bool) -> HttpResponse:
    dataset = get_object_or_404(Dataset, slug=slug)
    context: dict[str, object] = {"dataset": dataset, "row": row, "on_page": on_page}
    item = Item.objects.of(dataset).filter(row=row).select_related("label").first() if row < 2**63 else None
    if item is None:
        return render(request, template, context, status=404)
    if on_page:
        context |= {"neighbours": _neighbours(dataset, item)}
    context |= _picture(dataset, item)
    context |= _history(item, whole_number(request.GET.get("before")))
    context |= panel_context(request, dataset, item)
    classes = list(LabelClass.objects.active().filter(dataset=dataset))
    context |= _guide(dataset, item, classes)
    context |= {
        "item": item,
        "state": State(item.state).display_name,
        "facts": facts_of(dataset, item.row),
        "classes": classes,
        "probabilities": link_to("probabilities", dataset.slug, item.row),
    }
    return render(request, template, context)


@require_GET
def file_header(request: HtmxHttpRequest, frame_id: int) -> HttpResponse:
    """Show the header of a FITS file, as a fragment loaded when someone opens it."""
    frame = get_object_or_404(Frame.objects.select_related("dataset"), pk=frame_id, format="FITS")
    context: dict[str, object] = {"frame": frame}
    try:
        context["header"] = decoders().header(inside(frame), frame.dataset.shown_as)
    except ImageProblem as problem:
        context["reason"] = problem.reason
    return render(request, "labeling/items/_file_header.html", context)


def _neighbours(dataset: Dataset, item: Item) -> dict[str, str]:
    """Return the URLs of the previous and the next item's page; "" where there is none."""
    others = Item.objects.of(dataset)
    before = others.filter(row__lt=item.row).order_by("-row").values_list("row", flat=True).first()
    after = others.filter(row__gt=item.row).order_by("row").values_list("row", flat=True).first()
    return {
        key: "" if row is None else reverse("labeling:item", args=[dataset.slug, row])
        for key, row in (("previous", before), ("next", after))
    }


def _guide(dataset: Dataset, item: Item, classes: list[LabelClass]) -> dict[str, object]:
    """Return the guide of the item's class. Without one, the page asks for that of the class that a model suggests."""
    if item.label is None:
        return {"guide": None, "is_pending": True}
    item.label.dataset = dataset
    guide = guide_of(item.label, classes)
    return {"guide": guide, "is_example": guide.has_example(item)}


def _picture(dataset: Dataset, item: Item) -> dict[str, object]:
    """Return the frames, and the reason if no image can be shown."""
    frames = list(item.frames.order_by("id"))
    for frame in frames:
        frame.dataset = dataset
    parts_of_item = item_frames(dataset, frames)
    if parts_of_item is not None:
        frames = [part.frame for part in parts_of_item.parts if part.frame is not None]
    trouble = ""
    if not frames:
        trouble = "This item has no image file."
    elif not any(map(_is_file, frames)):
        trouble = (
            f"The file is no longer in {dataset.data_dir}. Its labels are kept. "
            "Put the file back, or rescan the folder."
        )
    elif not item.is_available:
        trouble = "The file could not be read in the last scan of the folder. The Problems page says why."
    return {"frames": frames, "frame": frames[0] if frames else None, "item_frames": parts_of_item, "problem": trouble}


def _is_file(frame: Frame) -> bool:
    try:
        return frame.file.is_file()
    except OSError:  # a folder on the path without permission: nothing to show either
        return False


def _history(item: Item, before: int | None) -> dict[str, object]:
    """Return a page of decisions, newest first, by a fixed number of queries."""
    annotations = item.annotations.select_related(
        "label", "annotator", "action__annotator", "action__undone_by", "previous__label"
    ).order_by("-id")
    if before is not None:
        annotations = annotations.filter(pk__lt=before)
    found = list(annotations[: HISTORY + 1])
    shown = found[:HISTORY]
    suggested = LabelClass.objects.in_bulk({decision.suggested_label_id for decision in shown} - {None})
    return {
        "history": [_decision(decision, suggested) for decision in shown],
        "older": shown[-1].pk if len(found) > HISTORY else None,
        "is_older_page": before is not None,
    }


def _decision(annotation: Annotation, suggested: dict[int, LabelClass]) -> Decision:
    action = annotation.action
    by = action.annotator or annotation.annotator
    return Decision(
        annotation=annotation,
        description=_describe(annotation),
        who=by.get_username() if by is not None else "someone",
        is_undone=hasattr(action, "undone_by"),
        # The provenance that an undo or a merge carries over is shown at the original decision.
        shown=() if action.kind in (Action.Kind.UNDO, Action.Kind.MERGE) else tuple(_shown(annotation, suggested)),
    )


def _describe(annotation: Annotation) -> str:
    outcome = annotation.label.name if annotation.label else State(annotation.state).display_name
    if annotation.action.kind == Action.Kind.UNDO:
        return f"undone: {outcome} again"
    if annotation.action.kind == Action.Kind.MERGE:
        earlier = annotation.previous.label.name if annotation.previous and annotation.previous.label else ""
        return f"{outcome} (class “{earlier}” was {'merged' if annotation.label else 'deleted'})"
    if annotation.action.kind == Action.Kind.IMPORT:
        return f"{outcome} (imported)"
    return f"{outcome} (confirmed)" if annotation.queue == CONFIRMATION else outcome


def _shown(annotation: Annotation, suggested: dict[int, LabelClass]) -> Iterable[str]:
    """Describe how the item came to be shown, the most informative facts first."""
    if annotation.queue == OPENED:
        yield "opened on its own page"
    elif annotation.queue == CONFIRMATION:
        yield "after its file changed"
    elif annotation.queue:
        rank = f", rank {annotation.rank + 1:,}" if annotation.rank is not None else ""
        yield f"queue {annotation.queue}{rank}"
    if annotation.round_id is not None:
        yield f"round {annotation.round_id}"
    if annotation.score is not None:
        yield f"score {annotation.score:.3g}"
    if annotation.selection_probability is not None:
        yield f"drawn with probability {annotation.selection_probability:.3g}"
    if annotation.model_version_id is not None:
        yield f"model version {annotation.model_version_id}"
    label = suggested.get(annotation.suggested_label_id or 0)
    if label is not None:
        share = annotation.suggested_probability
        sure = f" {share * 100:.0f} %" if share is not None else ""
        hidden = "" if annotation.suggestion_shown else " (hidden)"
        yield f"suggestion {label.name}{sure}{hidden}"
    if annotation.rendering:
        yield f"shown as {annotation.rendering}"
    if annotation.seconds is not None:
        yield f"{annotation.seconds:.1f} s on screen"
