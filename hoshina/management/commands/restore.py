"""Define ``hoshina restore``: restore a backup into the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from hoshina.backup.restore import restore
from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted


class Command(HoshinaCommand):
    needs_database = False  # it brings one
    help = "Restore a backup into an empty store, or in place of the present one. The server must not run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="a file that hoshina backup wrote")
        parser.add_argument(
            "--force", action="store_true", help="move the present store aside, to a dated folder inside the store"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        result = restore(options["path"].expanduser().absolute(), overwrite=options["force"])
        lines = [
            f"Restored {counted(result['datasets'], 'dataset')}, {counted(result['items'], 'item')} and "
            f"{counted(result['decisions'], 'decision')} from {result['created_at']}.",
            *([f"The store as it was is in {result['moved_to']}."] if result["moved_to"] else []),
            *(f"The folder {folder} does not exist here; set AL_DATA_DIR." for folder in result["no_folder"]),
            "Start the server: it reads the folders and computes embeddings again.",
        ]
        self.print_result(result, lines, as_json=options["json"])
