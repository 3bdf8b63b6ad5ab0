"""Export a dataset and import labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest, holder
from hoshina.core.roles import Role, requires
from labeling.decisions.content_changes import COUNTED_UP_TO, count_content_changed
from labeling.exporting import Export, refusal, sections
from labeling.exporting.form import ExportForm
from labeling.exporting.images import ImagesSize, images_size
from labeling.exporting.layouts import layouts
from labeling.exporting.options import DEFAULT_LAYOUT
from labeling.exporting.splits import SPLITS, quotas
from labeling.importing import save_table
from labeling.importing.class_spellings import KEEP, MERGE, NumbersQuestion
from labeling.importing.columns import EXPECTED, Choice
from labeling.importing.undo import past_imports, undo_import
from labeling.models import Dataset, Field, LabelClass
from labeling.tables.report import SHOWN
from labeling.views.uploads import TableForm, uploaded

# The client event after which the form on the Export page counts again.
LABELS_CHANGED = "hoshina:labels"


@requires(Role.MANAGER)
@require_GET
def export_page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the contents and options of an export; only the form if an option changed."""
    dataset = get_object_or_404(Dataset, slug=slug)
    size = images_size(dataset)
    return _export_page(request, dataset, _form(request, dataset, size), size)


@requires(Role.MANAGER)
@require_GET
def export_zip(request: HtmxHttpRequest, slug: str) -> HttpResponseBase:
    """Stream the archive while it is written; for impossible options, show the page with the errors."""
    dataset = get_object_or_404(Dataset, slug=slug)
    size = images_size(dataset)
    form = _form(request, dataset, size)
    if form.is_valid() and (problem := refusal(dataset, form.options())):
        form.add_error(None, problem)
    if not form.is_valid():
        return _export_page(request, dataset, form, size)
    return StreamingHttpResponse(
        iter(Export(dataset, form.options())),
        content_type="application/zip",
        headers={
            "Content-Disposition": content_disposition_header(True, f"{dataset.slug}.zip") or "",
            "Cache-Control": "no-store",
        },
    )


def _form(request: HtmxHttpRequest, dataset: Dataset, size: ImagesSize) -> ExportForm:
    fields = list(Field.objects.filter(dataset=dataset))
    chosen = next((field.name for field in fields if field.pk == dataset.together_by_id), "")
    names = [field.name for field in fields]
    return ExportForm(request.GET.dict(), names, chosen, dataset.roles, with_images=size.is_included)


def _export_page(request: HtmxHttpRequest, dataset: Dataset, form: ExportForm, size: ImagesSize) -> HttpResponse:
    is_valid = form.is_valid()
    context: dict[str, Any] = {
        "dataset": dataset,
        "form": form,
        "sections": [(form[section.name], section.why_not(dataset)) for section in sections()],
        "layouts": [(layout, layout.why_not()) for layout in layouts().values()],
        "layout": layouts().get(form["layout"].value(), layouts()[DEFAULT_LAYOUT]),
        "n_decided": dataset.n_decided,
        "expected": EXPECTED,
        "import_choices": ImportChoices(label_suffix="", auto_id="import-%s"),
        "size": size,
        "n_changed": count_content_changed(dataset),
        "counted_up_to": COUNTED_UP_TO,
        "past_imports": past_imports(dataset),
    }
    if is_valid:
        context |= _splits(dataset, form.options().splits)
    name = "labeling/exporting/_form.html" if request.htmx else "labeling/exporting/page.html"
    response = render(request, name, context, status=200 if is_valid else 422)
    patch_vary_headers(response, ["HX-Request"])
    return response


@dataclass(frozen=True)
class _ClassRow:
    """The number of labels of a class, in all and in each split."""

    label: LabelClass
    counts: list[int]


def _splits(dataset: Dataset, shares: tuple[int, int, int]) -> dict[str, Any]:
    """Return the table of the splits from the classes' counters: as in the archive unless files are identical."""
    labels = list(LabelClass.objects.active().filter(dataset=dataset))
    by_name = sorted(labels, key=lambda label: (label.name, label.pk))
    table = quotas([label.n_items for label in by_name], shares)
    counts = {label.pk: row.tolist() for label, row in zip(by_name, table, strict=True)}
    return {
        "splits": list(zip(SPLITS, shares, table.sum(axis=0).tolist(), strict=True)),
        "class_rows": [_ClassRow(label, counts[label.pk]) for label in labels],
        "train": shares[0],
    }


# -- Import -----------------------------------------------------------------------------------------
class ImportChoices(TableForm):
    """The options of reading a table of labels, which replace detection."""

    label_column = forms.CharField(
        label="Column with the labels",
        required=False,
        help_text="Left empty: label, class, category, choice, target, …",
    )
    field_order = ("key_column", "label_column")

    def choice(self, same_numbers: str) -> Choice:
        """Return the options of a valid form."""
        values = self.cleaned_data
        return Choice("", values["key_column"], values["label_column"], values["encoding"], same_numbers)


@requires(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def import_labels(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Import a CSV file of labels, and show a report of what changed."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = ImportChoices(request.POST if request.method == "POST" else None, label_suffix="", auto_id="import-%s")
    context: dict[str, Any] = {"dataset": dataset, "expected": EXPECTED, "import_choices": form}
    status = 200
    if request.method == "POST":
        context["same_numbers"], context["creates"] = _answers(request)
        try:
            report = _import(request, dataset, form)
        except NumbersQuestion as question:
            context["question"] = question
        except Refusal as problem:
            context["problem"] = str(problem)
            status = 422
        else:
            context |= {"report": report, "merged": list(report.merged.items())[:SHOWN]}
    context["past_imports"] = past_imports(dataset)
    name = "labeling/importing/_report.html" if request.htmx else "labeling/importing/page.html"
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return trigger_client_event(response, LABELS_CHANGED) if "report" in context else response


@require_POST
def undo(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Undo the import ``import``: items that nobody decided since get their earlier decision back."""
    dataset = get_object_or_404(Dataset, slug=slug)
    context: dict[str, Any] = {"dataset": dataset}
    try:
        identity = request.POST.get("import", "").replace("\x00", "")
        context["n_undone"] = undo_import(dataset, identity, user=request.user, holder=holder(request))
    except Refusal as problem:
        context["undo_problem"] = str(problem)
    context["past_imports"] = past_imports(dataset)
    is_refused = "undo_problem" in context
    name = "labeling/importing/_past_imports.html"
    response = render(request, name, context, status=422 if is_refused else 200)
    return response if is_refused else trigger_client_event(response, LABELS_CHANGED)


def _answers(request: HtmxHttpRequest) -> tuple[str, bool]:
    """Return the answers below the form: whether equal numbers are one class, and whether to create classes."""
    said = " ".join([*request.POST.getlist("create_classes"), request.POST.get("same_numbers", "")]).split()
    same_numbers = next((word for word in said if word in (MERGE, KEEP)), "")
    return same_numbers, "create_classes" in request.POST or "create" in said


def _import(request: HtmxHttpRequest, dataset: Dataset, form: ImportChoices) -> save_table.Report:
    table = uploaded(request, dataset, form, expected=EXPECTED, command="import_labels")
    same_numbers, creates = _answers(request)
    choice = form.choice(same_numbers)
    return save_table.import_labels(dataset, table, user=request.user, create_classes=creates, choice=choice)
