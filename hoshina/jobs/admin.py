"""Show jobs and workers in the admin, read-only."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse

from hoshina.core.admin import ReadOnlyAdmin
from hoshina.jobs import registry
from hoshina.jobs.models import Job, Worker


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("title", "dataset", "state", "stage", "progress", "created_by", "created_at", "finished_at")
    list_filter = ("state", "kind")
    ordering = ("-created_at",)
    list_select_related = ("created_by",)
    search_fields = ("error",)
    search_help_text = "Text of the error."
    fields = (
        "title", "dataset", "state", "stage", "progress", "error", "hint", "created_by", "created_at", "started_at",
        "finished_at", "attempts", "worker", "params", "result", "key",
    )  # fmt: skip
    readonly_fields = ("title", "dataset", "progress")
    page_text = "Open Jobs"

    def page_url(self, obj: Job) -> str:
        return reverse("jobs:page")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Add the name of the dataset, for which this app has only a number."""
        datasets = apps.get_model(settings.JOB_DATASET_MODEL)._default_manager
        name = datasets.filter(pk=OuterRef("dataset_id")).values("name")[:1]
        jobs: QuerySet[Job] = super().get_queryset(request)
        return jobs.annotate(dataset_name=Subquery(name))

    @admin.display(description="job", ordering="kind")
    def title(self, job: Job) -> str:
        return registry.described(job.kind).title

    @admin.display(ordering="dataset_id")
    def dataset(self, job: Job) -> str:
        name: str | None = job.dataset_name  # type: ignore[attr-defined]
        return name or ""

    @admin.display
    def progress(self, job: Job) -> str:
        return f"{job.done:,} of {job.total:,}" if job.total else ""


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("name", "queues", "seen_at")
    ordering = ("-seen_at",)
