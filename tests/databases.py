"""Database files of their own for tests that run several threads or processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections


@contextmanager
def database_file(file: Path, **settings: Any) -> Iterator[None]:
    """Let this process's Django use another SQLite file for a while, in every thread."""
    before, known = connections["default"], connections.settings["default"]
    settings_before = dict(known)
    known.update(NAME=str(file), **settings)
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        known.clear()
        known.update(settings_before)
        connections["default"] = before
