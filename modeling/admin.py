"""Register embeddings and models in the admin, read-only; the retraining policy can be changed."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from hoshina.core.admin import BigTableAdmin, ReadOnlyAdmin
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy


@admin.register(EmbeddingSet)
class EmbeddingSetAdmin(ReadOnlyAdmin):
    list_display = ("dataset", "encoder", "fingerprint", "dim", "n_vectors", "n_failed", "is_active", "updated_at")
    list_filter = ("dataset", "encoder", "is_active")
    list_select_related = ("dataset",)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = (
        "number", "dataset", "n_labels", "temperature", "is_calibrated", "is_active", "seconds", "created_at",
    )  # fmt: skip
    list_filter = ("dataset", "is_active", "is_calibrated")
    list_select_related = ("dataset",)


@admin.register(RetrainPolicy)
class RetrainPolicyAdmin(BigTableAdmin):
    list_display = ("dataset", "is_automatic", "min_new", "share_new")
    list_select_related = ("dataset",)
    readonly_fields = ("dataset",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: the policy is created when the model of a dataset is first shown."""
        return False
