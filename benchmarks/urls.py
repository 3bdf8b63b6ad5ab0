"""Add ``/nothing/`` and ``/flushed/`` to the product's URLs."""

import os
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from hoshina.urls import urlpatterns as product


@require_POST
def nothing(request: HttpRequest) -> JsonResponse:
    """Do nothing, behind the same middleware (session, CSRF, user)."""
    return JsonResponse({"user": request.user.pk, "bytes": len(request.body)})


# Bytes that saving one label adds to SQLite's write-ahead log: 17 or 18 pages of 4,096 bytes.
LABEL = bytes(18 * 4096)


@require_POST
def flushed(request: HttpRequest) -> JsonResponse:
    """Flush as many bytes to disk as saving a label does, which no durable server can avoid."""
    with (Path(settings.STORE_DIR) / "flushed").open("ab", buffering=0) as file:
        file.write(LABEL)
        os.fsync(file.fileno())
    return nothing(request)


urlpatterns = [path("nothing/", nothing), path("flushed/", flushed), *product]
