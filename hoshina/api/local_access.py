"""Let programs of this machine's user find the server that `up` started, and get in without a password.

`up` writes ``api.json`` into the store: the address, and a token. Only the user who started it can read the file.
"""

from __future__ import annotations

import json
from pathlib import Path

from django.conf import settings

from hoshina.api import tokens
from hoshina.api.models import Token
from hoshina.core.http import local_user
from hoshina.core.private_file import write_private

NAME = "This machine"


def file() -> Path:
    return Path(settings.STORE_DIR) / "api.json"


def offer(url: str) -> None:
    """Write the file with the address of the server and a new token, which replaces an earlier one."""
    Token.objects.filter(is_local=True).delete()
    user = local_user()
    _, text = tokens.issue(user, NAME, scope=Token.Scope.WRITE, days=tokens.MOST_DAYS, is_local=True)
    content = {"url": url, "token": text, "user": user.get_username()}
    write_private(file(), json.dumps(content))


def withdraw() -> None:
    """Delete the file, and revoke the token."""
    file().unlink(missing_ok=True)
    Token.objects.filter(is_local=True).delete()
