"""Register what queues record in the admin, read-only: rounds, served pages, accuracy, sweep checks, class splits."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from hoshina.core.admin import ReadOnlyAdmin
from sampling.models import AccuracyEstimate, Check, ClassSplit, Round, SavedView, ServedPage

# The ranking itself: large binary arrays, not readable.
_ARRAYS = ("rows", "scores", "probabilities", "sources")
_ARRAYS_OF_PAGES = ("ranks", "item_ids", "suggested_ids", "suggested_probabilities")


@admin.register(Round)
class RoundAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "dataset", "n_ranked", "model_version_id", "seed", "created_by", "created_at")
    list_filter = ("dataset", "queue")
    list_select_related = ("dataset", "created_by")
    exclude = _ARRAYS
    page_text = "Open the queue"

    def page_url(self, obj: Round) -> str:
        return f"{obj.dataset.get_absolute_url()}?{urlencode({'queue': obj.queue})}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Round]:
        rounds: QuerySet[Round] = super().get_queryset(request)
        return rounds.defer(*_ARRAYS)


@admin.register(ServedPage)
class ServedPageAdmin(ReadOnlyAdmin):
    """Pages of tiles as they were sent to people."""

    list_display = ("__str__", "dataset", "user", "model_version_id", "served_at")
    raw_id_fields = ("round",)
    exclude = _ARRAYS_OF_PAGES

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServedPage]:
        pages: QuerySet[ServedPage] = super().get_queryset(request)
        arrays_of_rounds = [f"round__{name}" for name in _ARRAYS]
        return pages.select_related("round__dataset", "user").defer(*_ARRAYS_OF_PAGES, *arrays_of_rounds)

    @admin.display
    def dataset(self, page: ServedPage) -> str:
        return page.round.dataset.name


@admin.register(AccuracyEstimate)
class AccuracyEstimateAdmin(ReadOnlyAdmin):
    list_display = ("model_version", "dataset", "value", "low", "high", "n_audit", "n_right", "n_labels", "created_at")
    list_filter = ("dataset",)
    list_select_related = ("model_version", "dataset")
    page_text = "Open Accuracy"

    def page_url(self, obj: AccuracyEstimate) -> str:
        return reverse("sampling:accuracy", args=[obj.dataset.slug])


@admin.register(Check)
class CheckAdmin(ReadOnlyAdmin):
    """Images that measure sweeps."""

    list_display = ("__str__", "item", "dataset", "label", "probability", "outcome")
    list_filter = ("dataset", "outcome")
    list_select_related = ("item", "dataset", "label")
    raw_id_fields = ("item", "round", "accept")
    page_text = "View item"

    def page_url(self, obj: Check) -> str:
        return reverse("labeling:item", args=[obj.dataset.slug, obj.item.row])


@admin.register(ClassSplit)
class ClassSplitAdmin(ReadOnlyAdmin):
    list_display = ("label", "dataset", "n_parts", "n_review", "n_learned", "is_closed", "created_by", "created_at")
    list_filter = ("dataset", "is_closed")
    list_select_related = ("label", "dataset", "created_by")
    exclude = ("rows", "proposed", "typicality", "learned")
    raw_id_fields = ("actions",)
    page_text = "Open the split"

    def page_url(self, obj: ClassSplit) -> str:
        return reverse("sampling:class_split", args=[obj.dataset.slug, obj.label_id])


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ("name", "dataset", "query", "created_by", "created_at")
    list_filter = ("dataset",)
    list_select_related = ("dataset", "created_by")
    search_fields = ("name",)
    page_text = "Open in the workbench"

    def page_url(self, obj: SavedView) -> str:
        return f"{obj.dataset.get_absolute_url()}?{obj.query}"
