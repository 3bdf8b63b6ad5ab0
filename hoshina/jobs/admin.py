"""Show jobs and workers in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin

from hoshina.core.admin import ReadOnlyAdmin
from hoshina.jobs.models import Job, Worker


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("kind", "dataset_id", "state", "stage", "done", "total", "created_at", "finished_at")
    list_filter = ("state", "kind")
    ordering = ("-created_at",)
    list_select_related = ("created_by",)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("name", "queues", "seen_at")
    ordering = ("-seen_at",)
