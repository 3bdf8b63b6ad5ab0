"""Define ``hoshina api_token USER NAME``: create a token for a program and print it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from hoshina.api import tokens
from hoshina.api.models import Token
from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal


class Command(HoshinaCommand):
    help = "Create a token with which a program uses the REST API for a person, and print it. It is not shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="the account that the program acts for")
        parser.add_argument("name", metavar="NAME", help="which program uses it")
        parser.add_argument(
            "--scope", choices=Token.Scope.values, default=Token.Scope.WRITE.value,
            help="what it may do (default: write, which includes read)",
        )  # fmt: skip
        parser.add_argument(
            "--days", type=int, default=tokens.DAYS, metavar="N", help=f"days until it expires (default {tokens.DAYS})"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise Refusal(
                f"There is no active account {options['user']!r}.", "hoshina sign_in_link NAME creates an account."
            )
        token, text = tokens.issue(user, options["name"], scope=options["scope"], days=options["days"])
        result = {"token": text, "name": token.name, "user": user.get_username(), "scope": token.scope}
        result["expires_at"] = token.expires_at.isoformat()
        self.print_result(result, [text], as_json=options["json"])
