"""manage.py import_labels: decisions from a CSV file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from hoshina.commands import HoshinaCommand
from hoshina.http import local_user
from labeling.importing import ImportProblem, Report, import_labels
from labeling.management.datasets import add_common_arguments, pick_dataset


class Command(HoshinaCommand):
    help = "Import labels from a CSV file, by path or item_id. Doing it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="CSV with a header: path or item_id, and label")
        add_common_arguments(parser)
        parser.add_argument("--create-classes", action="store_true", help="make the classes that are missing")
        parser.add_argument("--user", help="whose decisions these are (a user name); yours if not given")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        user = _user(options["user"])
        file: Path = options["file"].expanduser()
        # None: a bar on a terminal only.
        bar = tqdm(unit="item", desc="Saving", leave=False, disable=True if options["json"] else None)

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            with bar, file.open("rb") as stream:
                report = import_labels(
                    dataset, stream, user=user, create_classes=options["create_classes"], progress=progress
                )
        except OSError as error:
            raise CommandError(f"{file} could not be read: {error.strerror or error}.") from error
        except ImportProblem as problem:
            raise CommandError(f"{file}: {problem}") from problem
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False))
        else:
            self.stdout.write("\n".join(_words(report)))


def _user(name: str | None) -> User:
    if name is None:
        return local_user()
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name!r}.")
    return user


def _words(report: Report) -> list[str]:
    lines = [f"{report.applied} applied, {report.unchanged} unchanged, of {_lines(report.rows)}."]
    if report.created_classes:
        lines.append(f"New classes: {_list(report.created_classes)}.")
    if report.unknown_paths.lines:
        lines.append(
            f"{_lines(report.unknown_paths.lines)} about items that this dataset does not have: "
            f"{_list(list(report.unknown_paths.names))}."
        )
    if report.unknown_classes.lines:
        lines.append(
            f"{_lines(report.unknown_classes.lines)} of unknown classes: "
            f"{_list(list(report.unknown_classes.names))}. Add --create-classes to make them."
        )
    if report.repeated:
        lines.append(f"{_lines(report.repeated)} about an item that came again; the last one counted.")
    if report.undecided:
        lines.append(f"{_lines(report.undecided)} without a decision.")
    return lines


def _lines(number: int) -> str:
    return f"{number} line{'' if number == 1 else 's'}"


def _list(names: list[str], at_most: int = 10) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
