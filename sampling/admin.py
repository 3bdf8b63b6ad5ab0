"""Register rounds, estimates of accuracy and class splits in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from hoshina.core.admin import ReadOnlyAdmin
from sampling.models import AccuracyEstimate, ClassSplit, Round

# The ranking itself: large binary arrays, not readable.
_ARRAYS = ("rows", "scores", "probabilities")


@admin.register(Round)
class RoundAdmin(ReadOnlyAdmin):
    list_display = ("id", "dataset", "queue", "seed", "n_ranked", "model_version_id", "created_by", "created_at")
    list_filter = ("dataset", "queue")
    list_select_related = ("dataset", "created_by")
    exclude = _ARRAYS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Round]:
        rounds: QuerySet[Round] = super().get_queryset(request)
        return rounds.defer(*_ARRAYS)


@admin.register(AccuracyEstimate)
class AccuracyEstimateAdmin(ReadOnlyAdmin):
    list_display = ("model_version", "dataset", "value", "low", "high", "n_audit", "n_right", "n_labels", "created_at")
    list_filter = ("dataset",)
    list_select_related = ("model_version", "dataset")


@admin.register(ClassSplit)
class ClassSplitAdmin(ReadOnlyAdmin):
    list_display = ("label", "dataset", "n_parts", "n_review", "n_learned", "is_closed", "created_by", "created_at")
    list_filter = ("dataset", "is_closed")
    list_select_related = ("label", "dataset", "created_by")
    exclude = ("rows", "proposed", "typicality", "learned")
