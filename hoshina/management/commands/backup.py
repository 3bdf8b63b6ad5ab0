"""Define ``hoshina backup``: save the store to one file while the server runs, or verify such a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from hoshina.backup.create import create, create_dated, dated
from hoshina.backup.restore import check
from hoshina.core.commands import HoshinaCommand, prepare_database
from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from hoshina.core.plural import counted


class Command(HoshinaCommand):
    needs_database = False  # not to check a file
    help = "Save all labels, and what cannot be computed again, to one file. The server may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="the file to write; with --keep, a folder")
        parser.add_argument(
            "--labels-only",
            action="store_true",
            help="only datasets, classes, the items' paths and hashes, decisions and accounts",
        )
        parser.add_argument(
            "--keep",
            type=_number,
            metavar="N",
            help="write a file named after the time into the folder PATH, and delete all but the N newest ones",
        )
        parser.add_argument("--check", action="store_true", help="verify the backup PATH (in a folder: the newest)")
        parser.add_argument("--force", action="store_true", help="overwrite an existing file")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["path"].expanduser().absolute()
        if options["check"]:
            result = check(_newest(path) if path.is_dir() else path)
            verb = "is complete"
        else:
            prepare_database()
            labels_only = options["labels_only"]
            if options["keep"] is not None:
                result = create_dated(path, labels_only=labels_only, keep=options["keep"])
            else:
                result = create(path, labels_only=labels_only, overwrite=options["force"])
            verb = "was written"
        self.print_result(result, _lines(result, verb), as_json=options["json"])
        if result.get("missing"):
            self.stderr.write(f"These files were missing in the store already: {', '.join(result['missing'])}")


def _number(text: str) -> int:
    number = whole_number(text, 4)
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of backups; expected 1 or more.")
    return number


def _newest(folder: Path) -> Path:
    files = dated(folder)
    if not files:
        raise Refusal(f"The folder {folder} holds no backup.", "Name the file.")
    return files[-1]


def _lines(result: dict[str, Any], verb: str) -> list[str]:
    return [
        f"{result['path']} {verb}: {result['bytes'] / 1e6:,.1f} MB, made by HOSHINA {result['version']} at "
        f"{result['created_at']}",
        f"{counted(result['datasets'], 'dataset')}, {counted(result['items'], 'item')}, "
        f"{counted(result['decisions'], 'decision')}",
        *(f"Deleted {file}" for file in result.get("deleted", ())),
    ]
