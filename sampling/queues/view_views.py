"""Save and delete views: queues with filters under names."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseForbidden, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, may, requires
from labeling.models import Dataset
from sampling.models import SavedView
from sampling.queues.query import query_of_page
from sampling.queues.saved_views import LONGEST_NAME, LONGEST_QUERY, describe, save_view

# Event of the page: the menu of queues lists other views now.
CHANGED = "hoshina:views"


@requires(Role.LABELER)
@require_http_methods(["GET", "POST"])
def save(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the form for the page's queue and filters, or save them (``query``) as ``name``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    query = query_of_page(request)
    context = {"dataset": dataset, "longest": LONGEST_NAME}
    if request.method == "GET":
        context |= {"query": query.urlencode(), "text": describe(query)}
        return render(request, "sampling/queues/_save_view.html", context)
    text, name = request.POST.get("query", "")[: 2 * LONGEST_QUERY], request.POST.get("name", "")
    try:
        view = save_view(dataset, name, QueryDict(text), request.user)
    except Refusal as refusal:
        context |= {"query": text, "name": name, "text": describe(QueryDict(text)), "problem": str(refusal)}
        return render(request, "sampling/queues/_save_view.html", context, status=422)
    url = f"{reverse('workbench', args=[slug])}?{view.query}"
    response = render(request, "sampling/queues/_save_view.html", context | {"saved": view, "url": url})
    return trigger_client_event(response, CHANGED, {"saved": view.name})


@requires(Role.LABELER)
@require_POST
def delete(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Delete a view of one's own; managers may delete any."""
    view = get_object_or_404(SavedView, dataset__slug=slug, pk=pk)
    if view.created_by_id != request.user.pk and not may(request.user, Role.MANAGER):
        return HttpResponseForbidden(
            "Only the person who saved a view or a manager can delete it.", content_type="text/plain"
        )
    view.delete()
    return trigger_client_event(HttpResponse(status=204), CHANGED, {})
