"""Report whether the server can save labels, to monitoring and to ``up``."""

from __future__ import annotations

import threading
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error as AnyDatabaseError
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from hoshina.core import database_file, schema
from hoshina.core.folder_size import free_bytes
from hoshina.jobs import registry
from hoshina.jobs.notify import broker_answers
from hoshina.jobs.presence import seconds_since_seen, worker_alive

# Together below the two seconds within which an answer is promised.
_SECONDS = 1.5
# With less, a label may not be saved any more.
LEAST_FREE_BYTES = 32 * 2**20
_UNKNOWN: dict[str, Any] = {
    "database": False, "broker": False, "schema": "unknown", "free_bytes": None, "labels": False,
    "workers": dict.fromkeys(registry.QUEUES, False), "worker_seconds": dict.fromkeys(registry.QUEUES),
}  # fmt: skip
_checking = threading.Lock()


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """Report database, schema, disk space, broker and workers within two seconds, whatever hangs.

    Status 503 if labels cannot be saved or the broker is away.
    """
    content = dict(_UNKNOWN)
    if _checking.acquire(blocking=False):  # an earlier check that hangs answers for the later ones
        check = threading.Thread(target=_check, args=(content,), name="healthz", daemon=True)
        check.start()
        check.join(_SECONDS)
    report = dict(content)
    return JsonResponse(report, status=200 if report["labels"] and report["broker"] else 503)


def _check(content: dict[str, Any]) -> None:
    try:
        if not database_file.is_in_place():
            content["broker"] = broker_answers()
            return
        content["free_bytes"] = free = free_bytes(settings.STORE_DIR)
        content["workers"] = {queue: worker_alive(queue) for queue in registry.QUEUES}
        content["worker_seconds"] = {queue: seconds_since_seen(queue) for queue in registry.QUEUES}
        content["schema"] = schema.state()
        content["database"] = True
        content["labels"] = content["schema"] == "current" and free >= LEAST_FREE_BYTES
        content["broker"] = broker_answers()
    except (AnyDatabaseError, OSError):
        content["database"] = content["labels"] = False
        content["broker"] = broker_answers()
    finally:
        connections.close_all()
        _checking.release()
