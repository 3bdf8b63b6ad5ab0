"""hoshina import_labels: labels from a CSV file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from hoshina.core.commands import HoshinaCommand
from hoshina.core.http import local_user
from labeling.importing import Choice, ImportProblem, Report, import_labels
from labeling.importing.class_spellings import KEEP, MERGE
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.management.tables import add_table_arguments


class Command(HoshinaCommand):
    help = "Import labels from a CSV file. Doing it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="CSV with a header: a column that names the image, and label")
        add_common_arguments(parser)
        parser.add_argument("--create-classes", action="store_true", help="make the classes that are missing")
        add_table_arguments(parser)
        parser.add_argument("--label", default="", metavar="COLUMN", help="the column with the labels")
        parser.add_argument(
            "--same-numbers", choices=(MERGE, KEEP), default="",
            help="whether labels such as 1 and 01 are one class or several; without it, such a file is refused",
        )  # fmt: skip
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
                    dataset, stream, user=user, create_classes=options["create_classes"], choice=_choice(options),
                    progress=progress,
                )  # fmt: skip
        except OSError as error:
            raise CommandError(f"{file} could not be read: {error.strerror or error}.") from error
        except ImportProblem as problem:
            raise CommandError(f"{file}: {problem}") from problem
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False))
        else:
            self.stdout.write("\n".join(_words(report)))


def _choice(options: dict[str, Any]) -> Choice:
    key, key_column = options["key"]
    return Choice(key, key_column, options["label"], options["encoding"], options["same_numbers"])


def _user(name: str | None) -> User:
    if name is None:
        return local_user()
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name!r}.")
    return user


def _words(report: Report) -> list[str]:
    lines = [f"{report.applied} applied, {report.unchanged} unchanged, of {_lines(report.rows)}."]
    if report.encoding_note:
        lines.append(report.encoding_note)
    if report.is_about_nothing:
        lines.append(
            "No line is about an item of this dataset. Choose the column that names the images (--key COLUMN)."
        )
    if report.by_name:
        lines.append(f"{_lines(report.by_name)} matched by file name alone.")
    if report.merged:
        lines.append(
            f"Labels that are other spellings of a class: {_list([f'{a} is {b}' for a, b in report.merged.items()])}."
        )
    if report.created_classes:
        lines.append(f"New classes: {_list(report.created_classes)}.")
    if report.unknown_paths.lines:
        lines.append(
            f"{_lines(report.unknown_paths.lines)} about items that this dataset does not have "
            f"(column {report.key_column}): {_list(list(report.unknown_paths.names))}."
        )
    if report.ambiguous.lines:
        lines.append(
            f"{_lines(report.ambiguous.lines)} about several items of the same file name: "
            f"{_list(list(report.ambiguous.names))}. Give their paths."
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
