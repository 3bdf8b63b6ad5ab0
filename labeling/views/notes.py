"""Show and change the flag, the tags and the notes of items."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseForbidden, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.core.roles import Role, may, requires
from labeling.models import FLAG, MAX_NOTE_TEXT, MAX_TAG, Dataset, Item, ItemTag, Note
from labeling.notes import tags as item_tags
from labeling.notes.entries import add_note

# Event of the page: the tiles of these items show other tags or notes now.
CHANGED = "hoshina:item-notes"


@requires(Role.LABELER)
@require_http_methods(["GET", "POST"])
def notes(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the tags and notes of an item as a fragment, or add the note ``text``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    item = get_object_or_404(Item.objects.of(dataset), row=row if row < 2**63 else -1)
    if request.method == "GET":
        return _panel(request, dataset, item)
    try:
        add_note(item, request.POST.get("text", ""), request.user)
    except Refusal as refusal:
        return _panel(request, dataset, item, str(refusal))
    return _changed(_panel(request, dataset, item), [item.pk])


@requires(Role.LABELER)
@require_POST
def delete(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Delete a note of one's own; managers may delete any."""
    dataset = get_object_or_404(Dataset, slug=slug)
    note = get_object_or_404(Note.objects.select_related("item"), dataset=dataset, pk=pk)
    if not may_delete(request, note):
        return HttpResponseForbidden("Only its author or a manager can delete a note.", content_type="text/plain")
    note.delete()
    return _changed(_panel(request, dataset, note.item), [note.item_id])


@requires(Role.LABELER)
@require_http_methods(["GET", "POST"])
def tags(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """List the tags in use as JSON, or attach the tag ``tag`` to the items ``item`` (``on`` is 0: remove it).

    The response has the new state of each item. For a page's detail, it is the fragment of the one item.
    """
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method == "GET":
        names = item_tags.tags_in_use(dataset).values_list("name", flat=True)
        return JsonResponse({"tags": item_tags.without_flag(list(names))})
    ids = [whole_number(text) for text in request.POST.getlist("item")]
    item_ids = [pk for pk in ids if pk is not None]
    first = Item.objects.of(dataset).filter(pk__in=item_ids[:1]).first()
    try:
        if not first:
            raise Refusal("No image was named.", "Select one and try again.")
        is_on = request.POST.get("on") != "0"
        changed = item_tags.tag_items(dataset, item_ids, request.POST.get("tag", ""), request.user, is_on=is_on)
    except Refusal as refusal:
        if request.htmx and first:
            return _panel(request, dataset, first, str(refusal))
        return JsonResponse({"error": str(refusal)}, status=400)
    if request.htmx:
        return _changed(_panel(request, dataset, first), changed)
    return JsonResponse({"items": item_tags.as_json(changed)})


def panel_context(request: HtmxHttpRequest, dataset: Dataset, item: Item) -> dict[str, Any]:
    """Return what the fragment shows."""
    attached = ItemTag.objects.filter(item=item).select_related("tag", "tagged_by").order_by("tag__name")
    by_name = {item_tag.tag.name: item_tag for item_tag in attached}
    entries = Note.objects.filter(item=item).select_related("author").order_by("pk")
    others = item_tags.tags_in_use(dataset).exclude(name__in=by_name).values_list("name", flat=True)
    return {
        "flag": by_name.pop(FLAG, None),
        "flag_name": FLAG,
        "tags": list(by_name.values()),
        "other_tags": item_tags.without_flag(list(others)),
        "notes": [{"note": note, "may_delete": may_delete(request, note)} for note in entries],
        "longest_note": MAX_NOTE_TEXT,
        "longest_tag": MAX_TAG,
    }


def may_delete(request: HtmxHttpRequest, note: Note) -> bool:
    """Return whether the person wrote the note or manages datasets."""
    return note.author_id == request.user.pk or may(request.user, Role.MANAGER)


def _panel(request: HtmxHttpRequest, dataset: Dataset, item: Item, problem: str = "") -> HttpResponse:
    context = panel_context(request, dataset, item) | {"dataset": dataset, "item": item, "problem": problem}
    return render(request, "labeling/notes/_panel.html", context, status=422 if problem else 200)


def _changed(response: HttpResponse, item_ids: list[int]) -> HttpResponse:
    return trigger_client_event(response, CHANGED, {"items": item_tags.as_json(item_ids)})
