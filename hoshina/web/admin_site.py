"""Open the admin to managers and administrators; its own sign-in page gives way to that of the site."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from hoshina.core.roles import Role, may

# The apps in the order of the index.
_ORDER = ("labeling", "modeling", "sampling", "jobs", "auth", "api", "axes")
# Tables of django-axes that the settings leave empty.
_UNUSED = ("AccessLog", "AccessFailureLog")


class HoshinaAdminSite(AdminSite):
    site_header = site_title = "HOSHINA"
    index_title = "Admin"
    # The header of the product leads to its pages, and the breadcrumbs lead back.
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Role.MANAGER)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the apps with their models, data first."""
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"] = [model for model in app["models"] if model["object_name"] not in _UNUSED]
        return sorted(apps, key=lambda app: _ORDER.index(app["app_label"]))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the account's page, where people change their password."""
        return redirect("account")

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect("login")
