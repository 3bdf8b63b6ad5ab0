"""Create a dataset: choose a folder on the server, upload images, or try the demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires
from hoshina.jobs.lifecycle import enqueue
from labeling.images import thumbnails
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT
from labeling.ingest.dataset_folder import folder_problem, is_allowed
from labeling.ingest.demo_images import demo_dataset
from labeling.ingest.folder_listing import content_of, list_folder, recent_folders, starting_points
from labeling.ingest.image_uploads import new_uploads, save_images, sort_out
from labeling.models import Dataset
from labeling.views.datasets import may_add_folders, remember
from labeling.views.media import not_found

_ONE_FOLDER = "All datasets are in one folder here (AL_DATA_DIR), so none can be added."
_PREVIEW_SECONDS = 1.0


@requires(Role.ADMINISTRATOR)
@require_GET
def folders(request: HtmxHttpRequest) -> HttpResponse:
    """List the subfolders of ``path`` with their numbers of images, as a fragment; without it, where to begin.

    With ``find``, only those whose names contain it.
    """
    context: dict[str, Any] = {"starting_points": starting_points(), "recent": recent_folders()}
    if path := request.GET.get("path", "").replace("\x00", ""):
        try:
            context["listing"] = list_folder(Path(path), find := request.GET.get("find", "").strip())
            context["find"] = find
        except Refusal as problem:
            context["problem"] = str(problem)
    return render(request, "labeling/ingest/_folders.html", context)


@requires(Role.ADMINISTRATOR)
@require_safe
def folder_preview(request: HttpRequest) -> HttpResponseBase:
    """Return a small picture of the first image directly in the folder ``path``."""
    folder = Path(request.GET.get("path", "").replace("\x00", ""))
    if not folder.is_absolute() or folder_problem(folder):
        return not_found("There is no such folder.")
    first = content_of(folder, time.monotonic() + _PREVIEW_SECONDS).first
    if first is None or not is_allowed(first):  # it may be a link
        return not_found("There is no image directly in this folder.")
    try:
        content, suffix = decoders().picture(first, thumbnails.TILE, DEFAULT)
    except (ImageProblem, OSError) as problem:
        return not_found(str(problem))
    return HttpResponse(
        content, content_type=thumbnails.CONTENT_TYPES[suffix], headers={"Cache-Control": "private, max-age=60"}
    )


@requires(Role.ADMINISTRATOR)
@require_POST
def demo(request: HtmxHttpRequest) -> HttpResponse:
    """Create the demo dataset, or open it if it exists."""
    if not may_add_folders(request):
        return HttpResponse(_ONE_FOLDER, status=403, content_type="text/plain")
    dataset = demo_dataset()
    if not dataset.n_items:
        enqueue("ingest", dataset_id=dataset.pk, user=request.user)
    remember(request, dataset)
    return redirect(dataset)


@requires(Role.ADMINISTRATOR)
@require_POST
def upload(request: HtmxHttpRequest) -> JsonResponse:
    """Save the uploaded ``images`` in a new dataset called ``name``, or in the uploaded dataset ``dataset``.

    A browser sends many images as several requests; the one with ``is_last`` starts reading them. Returns the dataset's
    ``slug`` and ``url`` ("" if no file is an image, so that none was created), ``n_saved``, and ``problems``, sentences
    about the files that were not saved. An error has ``error``, and the ``slug`` of a dataset that was created.
    """
    if not may_add_folders(request):
        return JsonResponse({"error": _ONE_FOLDER}, status=403)
    slug = request.POST.get("dataset", "")
    files = request.FILES.getlist("images")
    if not files:
        return JsonResponse({"error": "Choose images first."}, status=422)
    dataset: Dataset | None = None
    try:
        images, problems = sort_out(files)
        if not slug and not images:
            return JsonResponse({"slug": "", "url": "", "n_saved": 0, "problems": problems})
        dataset = get_object_or_404(Dataset, slug=slug) if slug else new_uploads(request.POST.get("name", ""))
        n_saved = save_images(dataset, images)
    except Refusal as problem:
        return JsonResponse({"error": str(problem)}, status=422)
    except OSError as error:
        text = f"The images cannot be stored ({error}). Is the disk full?"
        return JsonResponse({"error": text, "slug": dataset.slug if dataset else ""}, status=507)
    if request.POST.get("is_last") == "1":
        enqueue("ingest", dataset_id=dataset.pk, user=request.user)
        remember(request, dataset)
    return JsonResponse(
        {"slug": dataset.slug, "url": dataset.get_absolute_url(), "n_saved": n_saved, "problems": problems}
    )
