"""Show the page that manages a dataset, and do what its forms ask for."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires, requires_to_change
from hoshina.datasets import deletion, edits
from labeling.models import Dataset


@requires(Role.MANAGER)
@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the forms to rename, describe, archive and delete a dataset."""
    return _page(request, get_object_or_404(Dataset, slug=slug))


def _page(
    request: HtmxHttpRequest,
    dataset: Dataset,
    *,
    texts: dict[str, str] | None = None,
    rename_error: str = "",
    describe_error: str = "",
    delete_error: str = "",
) -> HttpResponse:
    context = {
        "dataset": dataset,
        "contents": deletion.contents_of(dataset),
        "texts": texts or {name: getattr(dataset, name) for name in ("description", "license", "citation")},
        "rename_error": rename_error,
        "describe_error": describe_error,
        "delete_error": delete_error,
        "typed": request.POST.get("name", ""),
    }
    status = 422 if rename_error or describe_error or delete_error else 200
    return render(request, "datasets/manage.html", context, status=status)


@require_POST
def rename(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Rename a dataset."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        edits.rename(dataset, request.POST.get("name", ""))
    except Refusal as refusal:
        return _page(request, dataset, rename_error=str(refusal))
    messages.success(request, f"The dataset is now called {dataset.name}.")
    return redirect("dataset_manage", slug=slug)


@require_POST
def describe(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Save the description, license and citation of a dataset."""
    dataset = get_object_or_404(Dataset, slug=slug)
    texts = {name: request.POST.get(name, "") for name in ("description", "license", "citation")}
    try:
        edits.describe(dataset, **texts)
    except Refusal as refusal:
        return _page(request, dataset, texts=texts, describe_error=str(refusal))
    messages.success(request, "Saved. Exports contain it from now on.")
    return redirect("dataset_manage", slug=slug)


@require_POST
def archive(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Set whether a dataset is archived (``on=1``)."""
    dataset = get_object_or_404(Dataset, slug=slug)
    edits.set_archived(dataset, request.POST.get("on") == "1")
    state = "archived" if dataset.archived_at else "in use again"
    messages.success(request, f"{dataset.name} is {state}.")
    return redirect("labeling:datasets")


@requires_to_change(Role.ADMINISTRATOR)
@require_POST
def delete(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Delete a dataset whose name was typed, in the background."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if " ".join(request.POST.get("name", "").split()) != " ".join(dataset.name.split()):
        error = f"Type the name of the dataset, {dataset.name}, to delete it."
        return _page(request, dataset, delete_error=error)
    deletion.request(dataset, request.user)
    messages.success(request, f"Deleting {dataset.name}. The Jobs page shows the progress.")
    return redirect("labeling:datasets")
