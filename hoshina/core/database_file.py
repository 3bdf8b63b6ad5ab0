"""Detect that the SQLite file was deleted or replaced while it is open.

The system goes on writing to a file that was deleted, and SQLite acknowledges what nobody will ever read. So after a
write, the file at the path is compared with the one that the connection opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from hoshina.core.roles import SAFE_METHODS

REPLACED = (
    "The database file was deleted or replaced while the server was running, so nothing is saved. Labels stay in the "
    "browser. Put the store back in its place, or restart the server."
)


_opened: dict[str, tuple[int, int] | None] = {}


def watch() -> None:
    """Note the file of the first connection that is opened from now on."""
    connection_created.connect(_note, dispatch_uid="hoshina.database_file")


def _note(sender: object, *, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if path := _path(connection):
        _opened.setdefault(path, _identity(path))


def _path(database: BaseDatabaseWrapper) -> str:
    """Return the path of the database's file; "" for a server or a database in memory."""
    path = str(database.settings_dict["NAME"])
    return "" if database.vendor != "sqlite" or path == ":memory:" or path.startswith("file:") else path


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of a file; None if there is none."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def is_in_place() -> bool:
    """Return whether the database's path still leads to the file that this process opened first."""
    path = _path(connection)
    return path not in _opened or _opened[path] == _identity(path)


def database_file_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer a change with status 503 if it went into a file that is no longer the database."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.method in SAFE_METHODS:
            return get_response(request)
        # Before, so that no new file is made; afterwards, since nothing else tells what became of the change.
        if is_in_place():
            response = get_response(request)
            if is_in_place():
                return response
            response.close()
        return HttpResponse(REPLACED, status=503, content_type="text/plain")

    return middleware
