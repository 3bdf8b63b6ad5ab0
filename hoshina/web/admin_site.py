"""Open the admin to managers and administrators; its own sign-in page gives way to that of the site."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from hoshina.core.roles import Role, may


class HoshinaAdminSite(AdminSite):
    site_header = site_title = "HOSHINA"
    index_title = "The data of record"

    def has_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Role.MANAGER)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect("login")
