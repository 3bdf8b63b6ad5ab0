"""Show and change the list of classes, in the workbench's dialog and on its own page.

Every change responds with the fresh list; its open row, if any, holds the form and its errors (status 422 if the
change was refused). A change sends the event ``hoshina:classes``, so that other panes reload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Literal

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest, holder
from labeling.decisions import classes
from labeling.decisions.class_changes import earlier_names
from labeling.forms import ClassForm, LabelsGoForm, NewClassForm
from labeling.models import Dataset, LabelClass
from labeling.views.datasets import remember

CHANGED = "hoshina:classes"


@dataclass(frozen=True)
class Open:
    """The open row of the list: its purpose and its form; ``owner`` holds the requested key."""

    label_class: LabelClass
    mode: Literal["edit", "merge", "delete"]
    form: forms.Form
    owner: LabelClass | None = None


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the Classes page."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    return render(request, "labeling/classes/page.html", _context(dataset))


@require_GET
def class_list(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the list alone, for the dialog and for Cancel."""
    return _list(request, get_object_or_404(Dataset, slug=slug))


@require_POST
def add(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Add a class with the next free key and color; the field is ready for another."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = NewClassForm(request.POST)
    if not form.is_valid():
        return _list(request, dataset, add_form=form, status=422)
    try:
        added = classes.add(dataset, form.cleaned_data["name"], user=request.user)
    except Refusal as problem:
        form.add_error(problem.field, str(problem))
        return _list(request, dataset, add_form=form, status=422)
    return _changed(request, dataset, message=f"Added “{added.name}”.")


def _of_class(view: Callable[[HtmxHttpRequest, LabelClass], HttpResponse]) -> Callable[..., HttpResponse]:
    """Call the view with the class of the URL or, if it no longer exists, show the list and reload other panes."""

    @wraps(view)
    def respond(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
        dataset = get_object_or_404(Dataset, slug=slug)
        label = LabelClass.objects.active().filter(dataset=dataset, pk=pk).first()
        try:
            if label is None:
                raise classes.ClassGone
            label.dataset = dataset
            return view(request, label)
        except classes.ClassGone as problem:
            return trigger_client_event(_list(request, dataset, refused=str(problem), status=422), CHANGED)

    return respond


@require_http_methods(["GET", "POST"])
@_of_class
def edit(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Render the form of a class, or save its name, color and key."""
    if request.method == "GET":
        initial = {"name": label.name, "colour": label.colour, "key": label.key_name}
        return _list(request, label.dataset, opened=Open(label, "edit", ClassForm(initial=initial)))
    form = ClassForm(request.POST)
    owner: LabelClass | None = None
    if form.is_valid():
        try:
            name, color = form.cleaned_data["name"], form.cleaned_data["colour"]
            classes.edit(
                label, name=name, colour=color, **form.key_and_letter(), swap="swap" in request.POST, user=request.user
            )
        except classes.ClassGone:
            raise
        except Refusal as problem:
            owner = problem.owner if isinstance(problem, classes.KeyTaken) else None
            form.add_error(problem.field, str(problem))
        else:
            return _changed(request, label.dataset, focus=("edit", label.pk))
    return _list(request, label.dataset, opened=Open(label, "edit", form, owner), status=422)


@require_POST
@_of_class
def move(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Move a class one place up (``by=-1``) or down (``by=1``)."""
    steps = {"-1": -1, "1": 1}.get(request.POST.get("by", ""))
    if steps is None:
        return HttpResponse("Set by to -1 (up) or 1 (down).", status=400, content_type="text/plain")
    classes.move(label, steps)
    return _changed(request, label.dataset, focus=("up" if steps < 0 else "down", label.pk))


@require_http_methods(["GET", "POST"])
@_of_class
def merge(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Move the labels of a class to another."""
    return _remove(request, label, "merge")


@require_http_methods(["GET", "POST"])
@_of_class
def delete(request: HtmxHttpRequest, label: LabelClass) -> HttpResponse:
    """Delete a class; if it is in use, ask where its labels go."""
    return _remove(request, label, "delete")


def _remove(request: HtmxHttpRequest, label: LabelClass, mode: Literal["merge", "delete"]) -> HttpResponse:
    form = LabelsGoForm(request.POST if request.method == "POST" else None, source=label, merge_only=mode == "merge")
    if form.is_valid():
        return _changed(request, label.dataset, message=retire(label, form.cleaned_data["target"], request))
    return _list(request, label.dataset, opened=Open(label, mode, form), status=422 if form.is_bound else 200)


def retire(source: LabelClass, target: LabelClass | None, request: HtmxHttpRequest) -> str:
    """Merge a class into ``target``, or delete it if that is None. Return a message about what happened."""
    if target is None:
        moved = classes.delete(source, user=request.user, holder=holder(request))
        cleared = f" {_items(moved)} unlabeled again." if moved else ""
        return f"Deleted “{source.name}”.{cleared}"
    moved = classes.merge(source, target, user=request.user, holder=holder(request))
    return f"Merged “{source.name}” into “{target.name}”: {moved:,} label{'' if moved == 1 else 's'} moved."


def _items(n: int) -> str:
    return "One item is" if n == 1 else f"{n:,} items are"


def _changed(
    request: HtmxHttpRequest, dataset: Dataset, *, message: str = "", focus: tuple[str, int] | None = None
) -> HttpResponse:
    """Render the list after a change; ``focus`` names the button of a class that keeps the keyboard focus."""
    return trigger_client_event(_list(request, dataset, message=message, focus=focus), CHANGED)


def _list(
    request: HtmxHttpRequest, dataset: Dataset, *, opened: Open | None = None, status: int = 200, **context: object
) -> HttpResponse:
    return render(request, "labeling/classes/_list.html", _context(dataset, opened, **context), status=status)


def _context(dataset: Dataset, opened: Open | None = None, **context: object) -> dict[str, object]:
    present = list(LabelClass.objects.active().filter(dataset=dataset))
    return {
        "dataset": dataset,
        "classes": present,
        "add_form": NewClassForm(),
        "opened": opened,
        "suggested_letter": classes.suggested_letter(opened.label_class.name, present) if opened else "",
        "earlier_names": earlier_names(opened.label_class) if opened and opened.mode == "edit" else [],
    } | context
