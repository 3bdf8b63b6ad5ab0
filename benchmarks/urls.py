"""The product's addresses plus ``/nothing/``."""

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from hoshina.urls import urlpatterns as product


@require_POST
def nothing(request: HttpRequest) -> JsonResponse:
    """A view behind the same middleware (session, CSRF, user) that does nothing."""
    return JsonResponse({"user": request.user.pk, "bytes": len(request.body)})


urlpatterns = [path("nothing/", nothing), *product]
