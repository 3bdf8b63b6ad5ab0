"""Register embeddings, models and maps in the admin, read-only; the retraining policy can be changed."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from hoshina.core.admin import BigTableAdmin, ReadOnlyAdmin
from hoshina.core.links import link_to
from modeling.models import EmbeddingSet, ModelVersion, Projection, RetrainPolicy


@admin.register(EmbeddingSet)
class EmbeddingSetAdmin(ReadOnlyAdmin):
    list_display = ("encoder", "dataset", "dim", "n_vectors", "n_failed", "is_active", "updated_at")
    list_filter = ("dataset", "is_active")
    list_select_related = ("dataset",)
    page_text = "Open Encoders"

    def page_url(self, obj: EmbeddingSet) -> str:
        return reverse("modeling:encoders", args=[obj.dataset.slug])


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__", "dataset", "kind", "accuracy", "n_labels", "is_calibrated", "is_active", "seconds", "created_at",
    )  # fmt: skip
    list_filter = ("dataset", "kind", "is_active", "is_calibrated")
    list_select_related = ("dataset",)
    page_text = "View model"

    def page_url(self, obj: ModelVersion) -> str:
        return reverse("modeling:version", args=[obj.dataset.slug, obj.number])

    @admin.display
    def accuracy(self, version: ModelVersion) -> str:
        value = version.metrics.get("accuracy")
        return "" if value is None else f"{value:.3f}"


@admin.register(Projection)
class ProjectionAdmin(ReadOnlyAdmin):
    list_display = ("name", "dataset", "method", "n_points", "n_placed", "seconds", "created_at")
    list_filter = ("dataset", "method")
    list_select_related = ("dataset",)
    page_text = "Open the map"

    def page_url(self, obj: Projection) -> str:
        return link_to("map", obj.dataset.slug)


@admin.register(RetrainPolicy)
class RetrainPolicyAdmin(BigTableAdmin):
    list_display = ("dataset", "is_automatic", "min_new", "share_new")
    list_select_related = ("dataset",)
    readonly_fields = ("dataset",)
    page_text = "Open Retraining"

    def page_url(self, obj: RetrainPolicy) -> str:
        return reverse("modeling:policy", args=[obj.dataset.slug])

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: the policy is created when the model of a dataset is first shown."""
        return False
