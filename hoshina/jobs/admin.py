from django.contrib import admin
from django.http import HttpRequest

from hoshina.jobs.models import Job, Worker


class ReadOnly:
    """Rows that the program writes; people look."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("kind", "state", "dataset_id", "stage", "done", "total", "created_at", "worker")
    list_filter = ("state", "kind", "queue")
    search_fields = ("id", "error")
    date_hierarchy = "created_at"


@admin.register(Worker)
class WorkerAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "queues", "seen_at")
