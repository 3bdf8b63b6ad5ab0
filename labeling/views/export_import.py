"""Export a dataset. The page also has the form for a file of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.forms import BoundField
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires
from labeling.decisions.content_changes import COUNTED_UP_TO, count_content_changed
from labeling.exporting import Export, refusal, sections
from labeling.exporting.form import ExportForm
from labeling.exporting.images import ImagesSize, images_size
from labeling.exporting.layouts import layouts
from labeling.exporting.options import DEFAULT_LAYOUT
from labeling.exporting.small_classes import split_warnings
from labeling.exporting.splits import SPLITS, quotas
from labeling.importing.columns import EXPECTED
from labeling.importing.formats.registry import importers
from labeling.importing.undo import past_imports
from labeling.models import Dataset, Field, LabelClass


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
        "sections": _options(dataset, form, is_rare=False),
        "rare_sections": _options(dataset, form, is_rare=True),
        "has_rare": any(form[section.name].value() for section in sections() if section.is_rare),
        "as_of": form["as_of"].value() or "",
        "layouts": [(layout, layout.why_not()) for layout in layouts().values()],
        "layout": layouts().get(form["layout"].value(), layouts()[DEFAULT_LAYOUT]),
        "n_decided": dataset.n_decided,
        "expected": EXPECTED,
        "formats": [importer.title for importer in importers().values()],
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


def _options(dataset: Dataset, form: ExportForm, *, is_rare: bool) -> list[tuple[BoundField, str]]:
    """Return the fields of the sections, with why each is not possible."""
    shown = [section for section in sections() if section.is_rare is is_rare]
    return [(form[section.name], section.why_not(dataset)) for section in shown]


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
        "split_warnings": split_warnings({label.name: counts[label.pk] for label in labels}, shares),
        "train": shares[0],
    }
