"""Keep the token with which the user of this machine signs in: valid once, and readable only by that user.

Anyone with an account on the machine can connect to its local ports, so an address alone must not open the pages.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from django.conf import settings

from hoshina.core.private_file import write_private

_spending = threading.Lock()


def _file() -> Path:
    return Path(settings.STORE_DIR) / "sign_in_token"


def current() -> str:
    """Return the token that is valid now; made if there is none."""
    try:
        return _file().read_text(encoding="ascii")
    except FileNotFoundError:
        return renew()


def renew() -> str:
    """Replace the token, so that links made before no longer work. Return the new one."""
    token = secrets.token_urlsafe(32)
    write_private(_file(), token)
    return token


def spend(token: str) -> bool:
    """Return whether ``token`` is the valid one, which it ceases to be."""
    with _spending:
        if not secrets.compare_digest(token.encode(), current().encode()):
            return False
        renew()
        return True
