"""Keep the token with which the user of this machine signs in: valid once, and readable only by that user.

Anyone with an account on the machine can connect to its local ports, so an address alone must not open the pages.
"""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

from django.conf import settings

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
    file = _file()
    _close_to_others(file.parent)
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(token)
    new.replace(file)
    return token


def _close_to_others(store: Path) -> None:
    """Let nobody else enter the store: the sessions in its database would let them in as well."""
    mode = store.stat().st_mode
    if mode & 0o077 and os.name == "posix":
        store.chmod(mode & 0o7700)


def spend(token: str) -> bool:
    """Return whether ``token`` is the valid one, which it ceases to be."""
    with _spending:
        if not secrets.compare_digest(token.encode(), current().encode()):
            return False
        renew()
        return True
