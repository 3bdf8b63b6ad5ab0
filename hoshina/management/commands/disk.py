"""Define ``hoshina disk``: show what takes disk space in the store, and clear caches."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from hoshina.core.commands import HoshinaCommand
from hoshina.web.disk import CLEARABLE, clear, parts


class Command(HoshinaCommand):
    help = "Show what takes disk space in the store. With --clear: delete a cache, which is filled again when needed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--clear", choices=sorted(CLEARABLE), help="the cache to delete first")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        n_cleared = clear(options["clear"]) if options["clear"] else 0
        found, free = parts(), shutil.disk_usage(settings.STORE_DIR).free
        result = {
            "store": str(settings.STORE_DIR),
            "free_bytes": free,
            "cleared_bytes": n_cleared,
            "parts": [{"name": part.name, "bytes": part.size.n_bytes, "files": part.size.n_files} for part in found],
        }
        lines = [f"{part.size.n_bytes / 2**20:12,.1f} MB  {part.size.n_files:9,} files  {part.title}" for part in found]
        self.print_result(result, [*lines, f"{free / 2**20:12,.1f} MB  free"], as_json=options["json"])
