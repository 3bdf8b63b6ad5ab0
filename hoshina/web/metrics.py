"""Count requests and labels, and show these and the state of jobs to Prometheus at ``/metrics``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hoshina.core.folder_size import free_bytes
from hoshina.jobs import registry as job_registry
from hoshina.jobs.models import Job
from hoshina.jobs.presence import alive, seconds_since_seen
from labeling.models import Dataset

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
REQUESTS = Counter(
    "hoshina_requests", "Requests by view, method and status.", ["view", "method", "status"], registry=REGISTRY
)
SECONDS = Histogram(
    "hoshina_request_seconds", "Seconds until a request was answered, by view.", ["view"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)  # fmt: skip


class StateCollector(Collector):
    """Read counts from the database when they are asked for; they are the same from every web process."""

    def collect(self) -> Iterable[Metric]:
        datasets = GaugeMetricFamily("hoshina_items", "Items by dataset and state.", labels=["dataset", "state"])
        for dataset in Dataset.objects.all():
            counts = {"labelled": dataset.n_labelled, "unsure": dataset.n_unsure, "skipped": dataset.n_skipped}
            counts["undecided"] = dataset.n_items - sum(counts.values())
            for state, n in counts.items():
                datasets.add_metric([dataset.slug, state], n)
        yield datasets
        jobs = GaugeMetricFamily("hoshina_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        for row in Job.objects.order_by().values("kind", "state").annotate(n=Count("pk")):
            jobs.add_metric([row["kind"], row["state"]], row["n"])
        yield jobs
        workers = GaugeMetricFamily("hoshina_workers", "Workers that are alive, by queue.", labels=["queue"])
        ages = GaugeMetricFamily("hoshina_worker_seconds", "Age of the newest heartbeat.", labels=["queue"])
        for queue in job_registry.QUEUES:
            workers.add_metric([queue], len(alive(queue)))
            if (age := seconds_since_seen(queue)) is not None:
                ages.add_metric([queue], age)
        yield workers
        yield ages
        free = free_bytes(settings.STORE_DIR)
        yield GaugeMetricFamily("hoshina_free_bytes", "Free disk space of the store.", value=free)


REGISTRY.register(StateCollector())


def metrics_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Count every request that reached a view, and the time that it took."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match
        if match is not None:
            method = request.method if request.method in {"GET", "HEAD", "POST"} else "other"
            REQUESTS.labels(match.view_name or "unnamed", method, response.status_code).inc()
            SECONDS.labels(match.view_name or "unnamed").observe(time.perf_counter() - began)
        return response

    return middleware


@login_not_required
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Show the metrics to whoever has AL_METRICS_TOKEN."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    if not secrets.compare_digest(token, settings.METRICS_TOKEN.encode()):
        return HttpResponse("Send AL_METRICS_TOKEN as a bearer token.", status=401, content_type="text/plain")
    return HttpResponse(generate_latest(REGISTRY), content_type="text/plain; version=0.0.4; charset=utf-8")
