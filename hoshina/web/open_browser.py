"""Open the browser of this machine's user on an address that nobody else may read."""

from __future__ import annotations

import html
import os
import time
import webbrowser
from pathlib import Path

from django.conf import settings

_SECONDS = 60.0  # enough for a browser that has to start first
_PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={0}"><a href="{0}">HOSHINA</a>'


def open_browser(address: str) -> None:
    """Open ``address`` by a file that leads to it and is deleted after a minute.

    Other users of the machine can read the arguments of the browser's process, but not this file.
    """
    file = _folder() / f"hoshina-open-{os.getpid()}.html"
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(_PAGE.format(html.escape(address)))
    try:
        webbrowser.open(file.as_uri())
        time.sleep(_SECONDS)
    finally:
        file.unlink(missing_ok=True)


def _folder() -> Path:
    """Return a folder that browsers may read; those installed by snap only see the home folder, without hidden ones."""
    store, home = Path(settings.STORE_DIR), Path.home()
    is_visible = store.is_relative_to(home) and not any(part.startswith(".") for part in store.relative_to(home).parts)
    return home if os.access(home, os.W_OK) and not is_visible else store
