"""Show the Jobs page, the strip of a dataset's running jobs, and /healthz."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.jobs import clock, lifecycle, registry
from hoshina.jobs.models import Job
from hoshina.jobs.presence import missing_worker_message, worker_alive
from hoshina.jobs.runner import rate, seconds_left

PAGE = 50
ENDED = [Job.State.SUCCEEDED, Job.State.FAILED, Job.State.CANCELLED, Job.State.LOST]
_last_reaped = 0.0


@dataclass(frozen=True)
class Line:
    """A job as pages show it."""

    job: Job
    title: str
    dataset: str
    text: str
    percent: int | None
    left: str
    rate: str
    duration: str
    can_retry: bool


def span(seconds: float) -> str:
    """Format a duration: 8 s, 2 min, 1 h 5 min."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def waiting_reason(job: Job) -> str:
    """Return why a queued job does not run yet, with what to do about it."""
    if job.sent_at is None and clock.now() - job.created_at > timedelta(seconds=2):
        return "The broker cannot be reached. The job starts when the broker is back."
    if not worker_alive(job.queue):
        return missing_worker_message(job.queue)
    return "Waiting for a worker"


def _line(job: Job, names: dict[int, str], now: datetime) -> Line:
    left = seconds_left(job, now) if job.state == Job.State.RUNNING else None
    if job.state == Job.State.QUEUED:
        message = waiting_reason(job)
    elif job.state == Job.State.RUNNING:
        message = "Stopping…" if job.cancel_requested else job.stage
    elif job.state == Job.State.SUCCEEDED and (summary := registry.described(job.kind).summary):
        message = summary(job.result)
    else:
        message = job.error
    has_dataset = job.dataset_id is not None
    return Line(
        job=job,
        title=registry.described(job.kind).title,
        dataset=names.get(job.dataset_id or 0, f"dataset {job.dataset_id}") if has_dataset else "",
        text=message,
        percent=min(100, 100 * job.done // job.total) if job.total else None,
        left="" if left is None else f"{span(left)} left",
        rate=_format_rate(job, now) if job.state == Job.State.RUNNING else "",
        duration=span(((job.finished_at or now) - job.started_at).total_seconds()) if job.started_at else "",
        can_retry=job.state in {Job.State.FAILED, Job.State.CANCELLED, Job.State.LOST}
        and registry.find(job.kind) is not None,
    )


def _format_rate(job: Job, now: datetime) -> str:
    """Format the job's rate: 1,240 images/s; "" if it is unknown or of no interest."""
    pace, unit = rate(job, now), registry.described(job.kind).unit
    if pace is None or not unit:
        return ""
    return f"{pace:,.0f} {unit}/s" if pace >= 10 else f"{pace:.1f} {unit}/s"


def _lines(jobs: list[Job]) -> list[Line]:
    ids = {job.dataset_id for job in jobs if job.dataset_id is not None}
    # The model is named in the settings, as AUTH_USER_MODEL is: its app is above this one.
    model = apps.get_model(settings.JOB_DATASET_MODEL)
    names = {row.pk: str(row) for row in model._default_manager.filter(pk__in=ids)} if ids else {}
    now = clock.now()
    return [_line(job, names, now) for job in jobs]


def reap_if_due() -> None:
    """Reap jobs every few seconds while someone watches, in case no worker is left to do so."""
    global _last_reaped
    if time.monotonic() - _last_reaped > settings.JOB_HEARTBEAT:
        _last_reaped = time.monotonic()
        lifecycle.take_care()


# -- The Jobs page ----------------------------------------------------------------------------------
def _list_context(request: HttpRequest) -> dict[str, Any]:
    reap_if_due()
    jobs = Job.objects.exclude(kind__in=registry.quiet_kinds()).order_by("-created_at")
    dataset = whole_number(request.GET.get("dataset"))
    if dataset is not None:
        jobs = jobs.filter(dataset_id=dataset)
    before = _moment(request.GET.get("before", ""))
    if before is not None:
        jobs = jobs.filter(created_at__lt=before)
    rows = list(jobs[: PAGE + 1])
    shown = rows[:PAGE]
    return {
        "lines": _lines(shown),
        "active": any(job.is_active for job in shown),
        "dataset_filter": "" if dataset is None else dataset,
        "before": before.isoformat() if before else "",
        "older": shown[-1].created_at.isoformat() if len(rows) > PAGE else "",
    }


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # also times at the edges of the calendar
        return None


@require_safe
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """Render the history of jobs, active ones on top."""
    return render(request, "jobs/page.html", _list_context(request))


@require_safe
@never_cache
def job_list(request: HttpRequest) -> HttpResponse:
    """Render the list that the page polls; status 286 ends the polling."""
    context = _list_context(request)
    response = render(request, "jobs/_list.html", context, status=200 if context["active"] else 286)
    patch_vary_headers(response, ["HX-Request"])
    return response


@require_POST
def cancel(request: HtmxHttpRequest, pk: UUID) -> HttpResponse:
    """Cancel a queued job at once and ask a running one to stop."""
    lifecycle.cancel(get_object_or_404(Job, pk=pk))
    return _changed(request)


@require_POST
def retry(request: HtmxHttpRequest, pk: UUID) -> HttpResponse:
    """Queue a job like this one."""
    lifecycle.retry(get_object_or_404(Job, pk=pk), user=request.user)
    return _changed(request)


def _changed(request: HtmxHttpRequest) -> HttpResponse:
    if not request.htmx:
        return redirect("jobs:page")
    events: dict[str, dict[str, str]] = {"hoshina:job": {}, "hoshina:job-started": {}}
    return HttpResponse(status=204, headers={"HX-Trigger": json.dumps(events)})


# -- The strip --------------------------------------------------------------------------------------
@require_safe
@never_cache
def strip(request: HttpRequest, dataset_id: int) -> HttpResponse:
    """Render a dataset's active jobs. The fragment polls while there are any; ended jobs become toasts."""
    reap_if_due()
    jobs = Job.objects.filter(dataset_id=dataset_id).exclude(kind__in=registry.quiet_kinds())
    active = list(jobs.filter(state__in=Job.ACTIVE).order_by("created_at"))
    ended = _ended_since(request, dataset_id)
    announced = [job for job in ended if job.state != Job.State.SUCCEEDED or not registry.described(job.kind).is_silent]
    context = {
        "dataset_id": dataset_id,
        "lines": _lines(active),
        "ended": _lines(announced),
        "watch": ",".join(str(job.pk) for job in active),
        "now": clock.now().isoformat(),
        "pause": _pause(active),
    }
    response = render(request, "jobs/_strip.html", context)
    if ended:
        kinds = sorted({job.kind for job in ended})
        states = {job.kind: job.state for job in ended}
        event = {"hoshina:job-finished": {"kind": kinds[0], "kinds": kinds, "states": states}}
        response["HX-Trigger"] = json.dumps(event)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _pause(active: list[Job]) -> str:
    """Return the time between polls: a short one while a person probably waits for a job that takes seconds."""
    recent = clock.now() - timedelta(seconds=5)
    return "250ms" if any(job.queue == "interactive" and job.created_at > recent for job in active) else "1s"


def _ended_since(request: HttpRequest, dataset_id: int) -> list[Job]:
    """Return the jobs that ended since the last poll, including those that also started since then."""
    now = clock.now()
    since = _moment(request.GET.get("since", ""))
    watched = _uuids(request.GET.get("watch", ""))
    if since is None:
        recent = Q(finished_at__gt=now - timedelta(seconds=5))
    else:
        since = max(since, now - timedelta(seconds=20))
        recent = Q(finished_at__gt=since, created_at__gt=since)
    if watched:
        recent |= Q(pk__in=watched)
    jobs = Job.objects.filter(recent, dataset_id=dataset_id, state__in=ENDED)
    return list(jobs.exclude(kind__in=registry.quiet_kinds()).order_by("finished_at")[:10])


def _uuids(text: str) -> list[UUID]:
    uuids = []
    for part in text.split(",")[:50]:
        try:
            uuids.append(UUID(part))
        except ValueError:
            continue
    return uuids
