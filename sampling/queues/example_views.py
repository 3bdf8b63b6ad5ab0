"""Take an image file from outside the dataset as an example of Similar, and show its picture."""

from __future__ import annotations

from typing import BinaryIO, cast
from urllib.parse import urlsplit

from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires
from labeling.images import thumbnails
from labeling.images.problems import ImageProblem
from labeling.models import Dataset
from labeling.views.media import not_found
from sampling.queues import outside_examples


@require_POST
@requires(Role.LABELER)
def upload(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Keep the uploaded ``example``, and have the workbench open Similar with it (the event ``hoshina:query``)."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        uploaded = request.FILES.get("example")
        if uploaded is None or uploaded.file is None:
            raise Refusal("Choose an image file first.")
        name = outside_examples.keep(dataset, cast("BinaryIO", uploaded.file))
    except Refusal as problem:
        return render(request, "sampling/queues/_example_status.html", {"problem": str(problem)}, status=422)
    query = QueryDict(urlsplit(request.htmx.current_url or "").query)
    back = query.get("back", "") if query.get("queue") == "similar" else query.urlencode()
    new = {"queue": "similar", "file": name, "back": back or "queue=auto", "to": None, "of": None}
    # Most often the example is of a class that has no label yet.
    new |= {"avoid": "labels" if dataset.n_labelled else None}
    return trigger_client_event(HttpResponse(status=204), "hoshina:query", {"set": new})


@require_safe
def picture(request: HtmxHttpRequest, slug: str, name: str) -> HttpResponseBase:
    """Return the small picture of an example."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        file = outside_examples.thumbnail_of(dataset, name)
    except (Refusal, ImageProblem) as problem:
        return not_found(str(problem))
    response = HttpResponse(file.read_bytes(), content_type=thumbnails.CONTENT_TYPES[file.suffix])
    response["Cache-Control"] = "private, max-age=3600"
    return response
