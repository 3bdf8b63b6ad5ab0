"""Start, list, watch and cancel background jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from django.http import Http404
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from hoshina.api.common import JsonObject, Slug, Strict, Text, dataset_of, require
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import parse_options
from hoshina.core.roles import Role, requires
from hoshina.jobs import lifecycle, registry
from hoshina.jobs.models import Job
from hoshina.jobs.runner import seconds_left
from hoshina.jobs.views import reap_if_due, waiting_reason
from labeling.ingest.folder_watch import params_of_last_ingest
from labeling.models import Dataset
from modeling.assistive.policy import request_retrain
from modeling.maps import projections
from modeling.quick.data import facts_of, usual_options
from modeling.quick.options import QuickOptions, problems

router = Router(tags=["Jobs"])
Kind = Literal["scan", "embed", "retrain", "map", "quick_train"]


class JobOut(BaseModel):
    """Represent a background job."""

    id: UUID
    kind: str
    title: str
    dataset: str | None
    state: str = Field(description="queued, running, succeeded, failed, cancelled or lost.")
    is_active: bool = Field(description="Queued or running: poll again.")
    stage: str
    done: int
    total: int = Field(description="0 if it is not known.")
    seconds_left: float | None
    waits_for: str = Field(description="Why a queued job does not run yet.")
    error: str
    hint: str
    result: JsonObject
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobQuery(BaseModel):
    """Which jobs to list."""

    dataset: Text | None = Field(None, description="Only those of the dataset with this slug.")
    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"] | None = None
    kind: Annotated[Text, Field(max_length=40)] | None = None
    limit: int = Field(50, ge=1, le=200)
    before: datetime | None = Field(None, description="Only jobs that were created before this time.")


class JobIn(Strict):
    """Represent a job to start."""

    kind: Kind = Field(
        description="`scan` the folder for new files, compute embeddings (`embed`), `retrain` the model, compute a "
        "`map`, or `quick_train` a network."
    )
    options: dict[Text, str | int | float | bool | None] = Field(
        {}, max_length=50,
        description="For `map` and `quick_train`, by the names of the options of hoshina project_map and quick_train.",
    )  # fmt: skip


@router.get("/jobs", url_name="jobs", response=list[JobOut], summary="List jobs")
def jobs(request: HtmxHttpRequest, query: Query[JobQuery]) -> list[JobOut]:
    """Return jobs, newest first, without the short ones that pages wait for."""
    reap_if_due()
    found = Job.objects.exclude(kind__in=registry.quiet_kinds()).order_by("-created_at")
    if query.dataset is not None:
        found = found.filter(dataset_id=dataset_of(query.dataset).pk)
    for name in ("state", "kind"):
        if value := getattr(query, name):
            found = found.filter(**{name: value})
    if query.before is not None:
        found = found.filter(created_at__lt=query.before)
    return describe_jobs(list(found[: query.limit]))


@router.get("/jobs/{uuid:pk}", url_name="job", response=JobOut, summary="Get a job")
def job(request: HtmxHttpRequest, pk: UUID) -> JobOut:
    """Return one job with its progress. Poll it every second or two until `is_active` is false."""
    reap_if_due()
    return describe_jobs([_job(pk)])[0]


@router.post("/jobs/{uuid:pk}/cancel", url_name="job_cancel", response=JobOut, summary="Cancel a job")
def cancel_job(request: HtmxHttpRequest, pk: UUID) -> JobOut:
    """Cancel a queued job at once, and ask a running one to stop. A job that ended stays as it is."""
    return describe_jobs([lifecycle.cancel(_job(pk))])[0]


@router.post("/jobs/{uuid:pk}/retry", url_name="job_retry", response=JobOut, summary="Retry a job")
def retry_job(request: HtmxHttpRequest, pk: UUID) -> JobOut:
    """Queue a job like one that failed, was cancelled or lost, and return the new one."""
    return describe_jobs([lifecycle.retry(_job(pk), request.user)])[0]


@router.post("/datasets/{slug:slug}/jobs", url_name="dataset_jobs", response={202: JobOut}, summary="Start a job")
@requires(Role.LABELER)
def start_job(request: HtmxHttpRequest, slug: Slug, body: JobIn) -> Status[JobOut]:
    """Start a job, or return the one of this kind that is queued or running.

    A retrain computes missing embeddings first: the job that is returned is then that of the embeddings. Everybody who
    labels may start a retrain; the other kinds need the role of a manager.
    """
    dataset = dataset_of(slug)
    if body.kind != "retrain":
        require(request, Role.MANAGER)
    if body.options and body.kind not in ("map", "quick_train"):
        raise Refusal(f"A job of the kind {body.kind} has no options.", "Send none.", field="options")
    return Status(202, describe_jobs([_start(request, dataset, body.kind, body.options)])[0])


def _job(pk: UUID) -> Job:
    found = Job.objects.filter(pk=pk).first()
    if found is None:
        raise Http404(f"There is no job {pk}.")
    return found


def _start(request: HtmxHttpRequest, dataset: Dataset, kind: Kind, options: JsonObject) -> Job:
    if kind == "retrain":
        return request_retrain(dataset, request.user)
    if kind == "map":
        method = str(options.pop("method", "umap"))
        return projections.start(dataset, projections.checked(dataset, method, options), request.user)
    params: JsonObject = {}
    if kind == "quick_train":
        wanted = parse_options(QuickOptions, asdict(usual_options(dataset)) | options)
        if impossible := problems(wanted, facts_of(dataset)):
            field, _ = impossible[0]
            raise Refusal(" ".join(why for _, why in impossible), field=f"options.{field}" if field else "options")
        params = asdict(wanted)
    elif kind == "scan":
        params = params_of_last_ingest(dataset)
    name = "ingest" if kind == "scan" else kind
    return lifecycle.enqueue(name, dataset_id=dataset.pk, params=params, user=request.user)


def describe_jobs(found: Sequence[Job]) -> list[JobOut]:
    """Describe jobs, with the datasets that they belong to, by one query."""
    slugs = dict(Dataset.objects.filter(pk__in={job.dataset_id for job in found}).values_list("pk", "slug"))
    names = ("id", "kind", "state", "is_active", "stage", "done", "total", "error", "hint", "result", "created_at")
    return [
        JobOut(
            **{name: getattr(job, name) for name in (*names, "started_at", "finished_at")},
            title=registry.described(job.kind).title,
            dataset=slugs.get(job.dataset_id or 0),
            seconds_left=seconds_left(job) if job.state == Job.State.RUNNING else None,
            waits_for=waiting_reason(job) if job.state == Job.State.QUEUED else "",
        )
        for job in found
    ]
