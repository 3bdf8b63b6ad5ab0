"""Define ``hoshina sign_in_link``: print a link to sign in, for this machine's user or for someone else."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from hoshina import health
from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.roles import Role
from hoshina.web.sign_in import local_sign_in_path, password_path

_ROLES = {role.name.lower(): role for role in Role}


class Command(HoshinaCommand):
    help = "Print a link to sign in. With NAME: to choose a password, for a new account or a forgotten one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="whose link; created if there is no such account")
        parser.add_argument("--role", choices=_ROLES, help="the role of the account (new accounts: labeler)")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if name is None and options["role"]:
            raise Refusal("A role belongs to an account.", "Name it: hoshina sign_in_link NAME --role manager.")
        if name is None and not settings.TOKEN_REQUIRED:
            raise Refusal("People sign in with a password here.", "Name the account: hoshina sign_in_link NAME.")
        path = local_sign_in_path() if name is None else password_path(_account(name, options["role"]))
        result = {"url": _server() + path}
        self.print_result(result, [f"This link works once: {result['url']}"], as_json=options["json"])


def _account(name: str, role: str | None) -> User:
    user = User.objects.filter(username=name).first() or User(username=name)
    if user.pk is None:
        user.set_unusable_password()
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            raise Refusal(f"The name {name!r} is not allowed: {' '.join(error.messages)}") from error
        user.save()
    if role is not None:
        user.groups.remove(*Group.objects.filter(name__in=[role.group for role in Role]))
        user.groups.add(Group.objects.get(name=_ROLES[role].group))
    return user


def _server() -> str:
    """Return the address that people use: that of the proxy, of the ``up`` on this store, or of the settings."""
    origins = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin]
    if settings.BEHIND_HTTPS and origins:
        return str(origins[0]).rstrip("/")
    if settings.LOCAL_ONLY and not settings.BEHIND_HTTPS:
        try:
            running = json.loads((settings.STORE_DIR / "up.json").read_text(encoding="utf-8"))
            return str(running["url"]).rstrip("/")
        except (OSError, ValueError, KeyError):
            return f"http://{settings.HOST}:{settings.PORT}"
    scheme = "https" if settings.BEHIND_HTTPS else "http"
    return f"{scheme}://{health.allowed_host(settings.ALLOWED_HOSTS)}"
