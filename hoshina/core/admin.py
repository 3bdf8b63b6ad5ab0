"""Provide admin lists whose cost does not grow with the table, and read-only ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.utils.functional import cached_property

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator

# No admin list goes further: to find one row among a million, people search or filter.
MOST_LISTED = 10_000


class BoundedPaginator(_Paginator):
    """A paginator over the first 10,000 rows only."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, models.QuerySet)
        return rows.order_by()[:MOST_LISTED].count()


class BigTableAdmin(_ModelAdmin):
    """A list whose cost does not grow with the table: bounded count, newest first, no facets."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 100
    list_max_show_all = 100
    ordering: ClassVar[Any] = ("-id",)


class FixedRows:
    """Keep the admin from adding and deleting rows."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(FixedRows, BigTableAdmin):
    """A read-only list: the application writes these rows, and some are never changed again."""

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False
