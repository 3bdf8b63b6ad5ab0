"""Import labels from a file: ``hoshina import_labels``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.http import local_user
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.history.restore import RestoreReport, restore
from labeling.importing.class_spellings import KEEP, MERGE
from labeling.importing.columns import TITLES, Choice, Role
from labeling.importing.detections import ANIMAL, CropOptions, read_detections, threshold_of
from labeling.importing.detections import KIND as CROPS
from labeling.importing.preview import Preview, preview
from labeling.importing.save_table import Report, import_labels
from labeling.importing.undo import undo_import
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.management.tables import add_table_arguments, listed, read_table
from labeling.models import Dataset


class Command(HoshinaCommand):
    help = "Import labels from a table or from the file of another program. Repeating it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", type=Path, nargs="?", help="the file; a table has a column that names the image, and label"
        )
        parser.add_argument(
            "--undo",
            metavar="IMPORT",
            help="undo an import by its import_id, or the last one (last); images labeled since keep their labels",
        )
        parser.add_argument(
            "--history",
            action="store_true",
            help="import every decision with its history, from an archive or folder of `hoshina export "
            "--with-annotations`, into a dataset without decisions",
        )
        add_common_arguments(parser)
        parser.add_argument("--create-classes", action="store_true", help="create missing classes")
        parser.add_argument(
            "--preview", action="store_true", help="only show what each column is and what would change; saves nothing"
        )
        parser.add_argument(
            "--crops", action="store_true",
            help="for a file of MegaDetector: also make a dataset with an image of each detection",
        )  # fmt: skip
        parser.add_argument(
            "--crop-threshold", type=_share, metavar="SHARE",
            help="smallest confidence of these detections (default: recommended in the file, else 0.2)",
        )  # fmt: skip
        parser.add_argument(
            "--crop-category", default=ANIMAL, metavar="NAME", help=f"category of these detections (default: {ANIMAL})"
        )
        add_table_arguments(parser)
        parser.add_argument(
            "--column", type=_role, action="append", default=[], metavar="NAME=MEANING",
            help=f"the meaning of a column, if it is another one than detected: {', '.join(Role)}; may be repeated",
        )  # fmt: skip
        parser.add_argument("--label", default="", metavar="COLUMN", help="the column of the labels")
        parser.add_argument(
            "--same-numbers", choices=(MERGE, KEEP), default="",
            help="whether labels such as 1 and 01 are one class or several (default: refuse such files)",
        )  # fmt: skip
        parser.add_argument("--user", help="name of the user who made the decisions (default: you)")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        user = _user(options["user"])
        if options["undo"] is not None:
            n_undone = undo_import(dataset, options["undo"], user=user)
            result = {"undone": n_undone}
            self.print_result(result, [f"{counted(n_undone, 'item')} went back."], as_json=options["json"])
            return
        if options["file"] is None:
            raise CommandError("Name the file to import.", returncode=2)

        if options["history"]:
            self._history(dataset, options)
            return

        def work(stream: BinaryIO, progress: Callable[[int, int], None]) -> Report:
            creates = options["create_classes"]
            return import_labels(
                dataset, stream, user=user, create_classes=creates, choice=_choice(options), progress=progress
            )

        if options["preview"]:
            self._preview(dataset, options)
            return
        if options["crops"]:
            _require_detections(options["file"].expanduser(), _crop_options(options))
        report = read_table(options, work, unit="item", verb="Saving")
        facts, lines = report.as_json(), _summary(report)
        if options["crops"]:
            crops = self._crops(dataset, options)
            facts, lines = facts | {"crops": crops}, lines + crop_lines(crops)
        self.print_result(facts, lines, as_json=options["json"])

    def _crops(self, dataset: Dataset, options: dict[str, Any]) -> dict[str, Any]:
        params = {
            "file": str(options["file"].expanduser().absolute()),
            "threshold": options["crop_threshold"],
            "category": options["crop_category"],
        }
        return dict(run_command_job(self, CROPS, dataset.pk, params, as_json=options["json"]).result)

    def _history(self, dataset: Dataset, options: dict[str, Any]) -> None:
        if options["preview"] or options["create_classes"] or options["column"] or options["label"]:
            raise CommandError("--history imports an export as it is. Leave out the other options.", returncode=2)
        path: Path = options["file"].expanduser()
        bar = tqdm(unit="decision", desc="Saving", leave=False, disable=True if options["json"] else None)

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            with bar:
                report = restore(dataset, path, progress)
        except OSError as error:
            raise Refusal(f"{path} could not be read: {error.strerror or error}.") from error
        self.print_result(report.as_json(), _history_lines(report), as_json=options["json"])

    def _preview(self, dataset: Dataset, options: dict[str, Any]) -> None:
        def work(stream: BinaryIO, progress: Callable[[int, int], None]) -> Preview:
            return preview(dataset, stream, _choice(options), create_classes=options["create_classes"])

        shown = read_table(options, work, unit="line", verb="Reading")
        self.print_result(shown.as_json(), _preview_lines(shown), as_json=options["json"])


def _crop_options(options: dict[str, Any]) -> CropOptions:
    return CropOptions(options["crop_threshold"], options["crop_category"])


def _require_detections(file: Path, options: CropOptions) -> None:
    """Raise Refusal before anything is imported if the file has no such detections."""
    try:
        with file.open("rb") as stream:
            threshold_of(read_detections(stream, file.name), options)
    except OSError as error:
        raise Refusal(f"{file} could not be read: {error.strerror or error}.") from error


def crop_lines(result: dict[str, Any]) -> list[str]:
    """Return the result of cropping as lines of text."""
    lines = [
        f"{result['dataset']}: {counted(result['crops'], 'crop')} of {counted(result['images'], 'image')}, "
        f"{result['new']:,} of them new; confidence at least {result['threshold']:g}."
    ]
    if result["unknown"]:
        lines.append(f"{counted(result['unknown'], 'image')} of the file are not in the dataset.")
    if result["ambiguous"]:
        lines.append(f"{counted(result['ambiguous'], 'image')} of the file could be several of the dataset.")
    if result["n_failed"]:
        lines.append(f"{counted(result['n_failed'], 'image')} could not be read:")
        lines += [f"  {each['path']}: {each['reason']}" for each in result["failed"][:10]]
    return lines


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1.")
    return share


def _history_lines(report: RestoreReport) -> list[str]:
    lines = [
        f"{counted(report.decisions, 'decision')} about {counted(report.items, 'image')} restored, "
        f"with {counted(report.classes, 'class', 'classes')}."
    ]
    if report.people:
        lines.append(f"Inactive accounts created, which can't sign in: {listed(report.people)}.")
    if report.moved:
        lines.append(f"{counted(report.moved, 'image')} found by content, because the file was moved.")
    if report.changed:
        lines.append(
            f"{counted(report.changed, 'image')} differ from the exported files (State: Changed since labeled)."
        )
    return lines


def _choice(options: dict[str, Any]) -> Choice:
    key, key_column = options["key"]
    return Choice(
        key, key_column, options["label"], options["encoding"], options["same_numbers"],
        roles=dict(options["column"]), file_name=options["file"].name,
    )  # fmt: skip


def _role(text: str) -> tuple[str, str]:
    """Parse ``NAME=MEANING``."""
    name, _, role = text.rpartition("=")
    if not name.strip() or role.strip() not in set(Role):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MEANING. The meanings are {', '.join(Role)}.")
    return name, role.strip()


def _preview_lines(shown: Preview) -> list[str]:
    lines = [f"{shown.format}. Nothing was imported."]
    for column in shown.columns:
        examples = f" ({', '.join(column.examples)})" if column.examples else ""
        lines.append(f"  {column.header or '(no name)'}: {TITLES[column.role]}{examples}")
    if shown.question:
        groups = "; ".join(", ".join(map(repr, group)) for group in shown.question[:5])
        lines.append(f"These labels are the same number: {groups}. Choose --same-numbers merge or keep.")
    lines += [shown.problem] if shown.problem else []
    if shown.report is None:
        return lines
    report = shown.report
    lines.append(
        f"Of {_lines(report.rows)}: {counted(report.n_new, 'new label')}, {report.unchanged:,} unchanged, "
        f"{report.replaced.total:,} replaced."
    )
    if report.new_classes:
        classes = [f"{name} ({number:,})" for name, number in report.new_classes.items()]
        lines.append(f"Classes that would be created: {listed(classes)}.")
    return lines + _facts(report)


def _user(name: str | None) -> User:
    if name is None:
        return local_user()
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name!r}. Create the user, or choose another one with --user.")
    return user


def _summary(report: Report) -> list[str]:
    return [f"{report.applied} applied, {report.unchanged} unchanged, of {_lines(report.rows)}.", *_facts(report)]


def _facts(report: Report) -> list[str]:
    """Return what is the same before and after an import."""
    spellings = listed([f"{label} is {name}" for label, name in report.merged.items()])
    by = listed([f"{number:,} of {who or 'someone unnamed'}" for who, number in report.replaced.by.items()])
    facts = (
        (report.encoding_note, report.encoding_note),
        (report.is_about_nothing,
         "No line is about an item of this dataset. Choose the column that names the images (--key COLUMN)."),
        (report.by_name, f"{_lines(report.by_name)} matched by file name alone."),
        (report.merged, f"Other spellings of a class: {spellings}."),
        (report.created_classes, f"New classes: {listed(report.created_classes)}."),
        (report.replaced.total, f"Labels replaced: {by}."),
        (report.fields, f"Metadata fields: {listed(report.fields)}."),
        (report.unknown_annotators,
         f"Annotators without an account, kept in the field annotator: {listed(report.unknown_annotators)}."),
        (report.n_remarks, f"{counted(report.n_remarks, 'image')} with flags, tags or notes."),
        (report.unknown.lines,
         f"{_lines(report.unknown.lines)} about items that this dataset does not have "
         f"(column {report.key_column}): {listed(report.unknown.names)}."),
        (report.ambiguous.lines,
         f"{_lines(report.ambiguous.lines)} about several items of the same file name: "
         f"{listed(report.ambiguous.names)}. Use their paths."),
        (report.unknown_classes.lines,
         f"{_lines(report.unknown_classes.lines)} of unknown classes: {listed(report.unknown_classes.names)}. "
         "Add --create-classes to create them."),
        (report.repeated,
         f"{_lines(report.repeated)} about an item that occurs again later. The last line applies."),
        (report.undecided, f"{_lines(report.undecided)} without a decision."),
    )  # fmt: skip
    return [text for is_so, text in facts if is_so]


def _lines(number: int) -> str:
    return f"{number} line{'' if number == 1 else 's'}"
