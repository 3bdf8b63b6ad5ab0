"""Show and change the class guide: on its page, in the workbench's dialog, and beside the classes.

A change sends the event ``hoshina:guide``, so that the detail of an item shows it, and ``hoshina:guide-ID`` for every
class whose guide has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.core.plural import counted
from labeling.guide import guides
from labeling.guide.form import GuideForm
from labeling.models import Dataset, LabelClass
from labeling.views.datasets import remember

CHANGED = "hoshina:guide"


@require_GET
def guide(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the guides of all classes, as a page or for the dialog; ``class`` (an id) is the one to begin with."""
    dataset = get_object_or_404(Dataset, slug=slug)
    context = {
        "dataset": dataset,
        "guides": guides.guides_of(dataset),
        "here": whole_number(request.GET.get("class")),
    }
    if request.htmx:
        return render(request, "labeling/guide/_guide.html", context)
    remember(request, dataset)
    return render(request, "labeling/guide/page.html", context)


@require_http_methods(["GET", "POST"])
def class_guide(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show the guide of one class, or save it from its form."""
    label = _class(slug, pk)
    if request.method == "GET":
        return _shown(request, label)
    form = GuideForm.read(request.POST)
    try:
        changed = guides.save(label, form.description, form.confusions(), seen=form.seen)
    except Refusal as problem:
        form.problem = problem
        if form.seen is not None:
            form.seen = guides.guide_of(label).version  # whoever saves again has read the message
        return _edited(request, label, form, status=422)
    response = _shown(request, label, is_saved=True)
    return _announced(response, changed - {label.pk})


@require_http_methods(["GET", "POST"])
def edit(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show the form of a class's guide; as an answer to POST with what was typed, and one more row."""
    label = _class(slug, pk)
    if request.method == "GET":
        return _edited(request, label, GuideForm.of(guides.guide_of(label)))
    form = GuideForm.read(request.POST)
    form.add_row()
    return _edited(request, label, form)


@require_POST
def examples(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Use the images ``item`` (ids) as examples of their classes (``use=1``), or no longer (``use=0``)."""
    dataset = get_object_or_404(Dataset, slug=slug)
    item_ids = {pk for pk in map(whole_number, request.POST.getlist("item")) if pk is not None}
    use = request.POST.get("use")
    if use not in ("0", "1") or not item_ids:
        return _plain("Set item to the ids of images, and use to 1 or 0.", 400)
    try:
        change = guides.add_examples if use == "1" else guides.remove_examples
        label_ids = change(dataset, item_ids)
    except Refusal as problem:
        return _plain(str(problem), 409)
    message = f"{'Added' if use == '1' else 'Removed'} {counted(len(label_ids), 'example')}."
    return trigger_client_event(_announced(HttpResponse(status=204), label_ids), "hoshina:toast", {"text": message})


def _announced(response: HttpResponse, label_ids: Iterable[int]) -> HttpResponse:
    for name in (CHANGED, *(f"{CHANGED}-{pk}" for pk in sorted(set(label_ids)))):
        trigger_client_event(response, name)
    return response


def _class(slug: str, pk: int) -> LabelClass:
    return get_object_or_404(LabelClass.objects.active().select_related("dataset"), dataset__slug=slug, pk=pk)


def _shown(request: HtmxHttpRequest, label: LabelClass, *, is_saved: bool = False) -> HttpResponse:
    context = {"dataset": label.dataset, "guide": guides.guide_of(label), "is_saved": is_saved}
    return render(request, "labeling/guide/_class.html", context)


def _edited(request: HtmxHttpRequest, label: LabelClass, form: GuideForm, *, status: int = 200) -> HttpResponse:
    others = LabelClass.objects.active().filter(dataset=label.dataset).exclude(pk=label.pk)
    context = {"dataset": label.dataset, "label": label, "form": form, "others": others}
    return render(request, "labeling/guide/_form.html", context, status=status)


def _plain(text: str, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain")
