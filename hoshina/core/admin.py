"""Provide admin lists whose cost does not grow with the table, and read-only ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import capfirst

from hoshina.core.times import moment

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator

# No admin list goes further: to find one row among a million, people search or filter.
MOST_LISTED = 10_000


class BoundedPaginator(_Paginator):
    """Paginate the first 10,000 rows only."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, models.QuerySet)
        return rows.order_by()[:MOST_LISTED].count()


@cache
def column(model: type[models.Model], name: str) -> Callable[[models.Model], Any] | str:
    """Return what the admin shows for a field: a readable title, numbers grouped, times as on the pages."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    default_name = name.replace("_", " ")
    if not isinstance(field, models.Field) or title_of(name) == default_name:
        return name

    def value(row: models.Model) -> Any:
        raw = getattr(row, name)
        return moment(raw) if isinstance(raw, datetime) else f"{raw:,}" if type(raw) is int else raw

    value.__name__ = name
    title = title_of(name) if field.verbose_name == default_name else str(field.verbose_name)
    return admin.display(value, description=title, ordering=name, boolean=isinstance(field, models.BooleanField))


def title_of(name: str) -> str:
    """Return the title of a field: its name without what only programmers need."""
    return name.removeprefix("n_").removeprefix("is_").removesuffix("_at").removesuffix("_id").replace("_", " ")


class FlagFilter(admin.BooleanFieldListFilter):
    """Filter by a flag, with a readable title."""

    def __init__(self, field: Any, *args: Any, **options: Any) -> None:
        super().__init__(field, *args, **options)
        self.title = title_of(field.name)


class BigTableAdmin(_ModelAdmin):
    """Show a list whose cost does not grow with the table: bounded count, newest first, no facets.

    ``page_text`` is the text of the link to the row's page of the product, ``page_url`` its address; "" for none.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 100
    list_max_show_all = 100
    ordering: ClassVar[Any] = ("-id",)
    page_text = ""

    def page_url(self, obj: Any) -> str:
        return ""

    @admin.display(description="page")
    def page(self, obj: models.Model) -> str:
        url = self.page_url(obj)
        return format_html('<a href="{}">{}</a>', url, self.page_text) if url else ""

    def _column(self, name: Any) -> Any:
        return column(self.model, name)  # type: ignore[arg-type]  # a class is hashable

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        names = [self._column(name) for name in super().get_list_display(request)]
        return [*names, "page"] if self.page_text else names

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        filters = super().get_list_filter(request)
        return [(name, FlagFilter) if str(name).startswith("is_") else name for name in filters]

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any]:
        return [self._column(name) for name in super().get_readonly_fields(request, obj)]

    def get_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any]:
        """Return the fields of the form; those that can only be looked at are shown as in the list."""
        names = super().get_fields(request, obj)
        if obj is not None and not self.has_change_permission(request, obj):
            return [self._column(name) if isinstance(name, str) else name for name in names]
        fixed = {getattr(name, "__name__", name): name for name in self.get_readonly_fields(request, obj)}
        return [fixed.get(name, name) for name in names]

    def get_view_on_site_url(self, obj: Any = None) -> str | None:
        return (obj is not None and self.page_url(obj)) or None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Name the kind of row in the heading, and show its dataset in the header."""
        context["page_text"] = self.page_text
        obj = options.get("obj")
        if obj is not None:
            context["title"] = capfirst(self.opts.verbose_name)
        dataset = getattr(obj, "dataset", None)
        if dataset is not None:
            context["dataset"] = dataset
        return super().render_change_form(request, context, *args, **options)


class FixedRows:
    """Keep the admin from adding and deleting rows."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(FixedRows, BigTableAdmin):
    """Show a read-only list: the application writes these rows, and some are never changed again."""

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False
