"""Import metadata from a table, FITS headers or EXIF: ``hoshina import_fields``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError, CommandParser

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.fields.header_fields import KIND, check_cards
from labeling.fields.header_fields import report_lines as header_lines
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import Progress, Report, import_fields
from labeling.fields.split_groups import choose, tally_of
from labeling.importing.formats.registry import reader_of
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.management.tables import add_table_arguments, listed, read_table
from labeling.models import Dataset, Field


class Command(HoshinaCommand):
    help = "Import metadata of the images as fields to filter, sort, group and export by. Repeating it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            nargs="?",
            help="table with a header: path, item_id or a name, and metadata; CSV, XLSX, Parquet, JSON Lines, ECSV, …",
        )
        parser.add_argument(
            "--cards", type=_names, metavar="OBJECT,EXPTIME",
            help="instead of a file: FITS header cards or EXIF tags (DateTimeOriginal, GPSLatitude, Model), which are "
            "also read for files added later",
        )  # fmt: skip
        parser.add_argument(
            "--group-by", metavar="FIELD",
            help="group images with equal values in this field: no group is divided by a split, in exports, accuracy "
            "and training (\"\" for none); alone or with one of the others",
        )  # fmt: skip
        add_common_arguments(parser)
        parser.add_argument("--columns", type=_names, default=(), metavar="A,B", help="import only these columns")
        add_table_arguments(parser)
        parser.add_argument(
            "--kinds", type=_kinds, default={}, metavar="A=text,B=number",
            help="kinds of columns (number, text or time), if they differ from those of their values",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        is_alone = options["file"] is None and options["cards"] is None and options["group_by"] is not None
        if (options["file"] is None) == (options["cards"] is None) and not is_alone:
            raise CommandError("Give either a file, or header cards or EXIF tags with --cards.", returncode=2)
        result: dict[str, object] = {}
        lines: list[str] = []
        if options["cards"] is not None:
            result = self._read_cards(dataset, options)
            lines = header_lines(result)
        elif options["file"] is not None:
            report = self._import(dataset, options)
            result, lines = report.as_json(), summary_of(report)
        if options["group_by"] is not None:
            grouped, more = _keep_together(dataset, options["group_by"])
            result, lines = result | grouped, lines + more
        self.print_result(result, lines, as_json=options["json"])

    def _read_cards(self, dataset: Dataset, options: dict[str, Any]) -> dict[str, Any]:
        cards = check_cards(dataset, options["cards"])
        job = run_command_job(self, KIND, dataset.pk, {"cards": cards}, as_json=options["json"])
        return dict(job.result)

    def _import(self, dataset: Dataset, options: dict[str, Any]) -> Report:
        key, key_column = options["key"]
        wish = Wish(key, key_column, options["columns"], options["encoding"])

        def work(stream: BinaryIO, progress: Progress) -> Report:
            return import_fields(
                dataset, stream, wish, options["kinds"], progress=progress, read_layout=reader_of(options["file"].name)
            )

        return read_table(options, work, unit="line", verb="Reading")


def _keep_together(dataset: Dataset, name: str) -> tuple[dict[str, object], list[str]]:
    """Set the group field of the dataset, and return it for JSON and as lines of text."""
    field = choose(dataset, name.strip())
    tally = tally_of(dataset, field) if field else None
    if tally is None:
        return {"group_by": None}, ["Only identical files are grouped."]
    result: dict[str, object] = {"group_by": tally.name, "groups": tally.n_groups, "largest_group": tally.largest}
    n_groups = counted(tally.n_groups, "group")
    line = f"Images are grouped by {tally.name}: {n_groups}, the largest of {tally.largest:,}"
    line += f"; {counted(tally.n_unknown, 'image')} without a value, each a separate group." if tally.n_unknown else "."
    return result | {"without_group": tally.n_unknown}, [line, *filter(None, [tally.warning])]


def summary_of(report: Report) -> list[str]:
    """Return the result of an import as lines of text."""
    lines = [report.encoding_note] if report.encoding_note else []
    for field in report.fields:
        change = "new" if field.is_new else f"{field.n_changed:,} changed" if field.n_changed else "unchanged"
        lines.append(f"{field.name} ({field.kind}): {field.n_known:,} known, {change}")
    lines.append(
        f"{report.matched:,} of {report.rows:,} lines are about items of this dataset (column {report.key_column})."
    )
    unknown, ambiguous = report.unknown, report.ambiguous
    facts = (
        (report.by_name, f"{report.by_name:,} of them were matched by file name alone."),
        (unknown.lines,
         f"{counted(unknown.lines, 'line')} about items that it does not have: {listed(unknown.names)}."),
        (ambiguous.lines,
         f"{counted(ambiguous.lines, 'line')} that could be about several items: {listed(ambiguous.names)}."),
        (report.too_long, f"Skipped columns with names or values that are too long: {listed(report.too_long)}."),
        (report.empty, f"Skipped columns without values: {listed(report.empty)}."),
    )  # fmt: skip
    return lines + [text for is_so, text in facts if is_so]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _kinds(text: str) -> dict[str, str]:
    kinds = dict(pair.rpartition("=")[::2] for pair in _names(text))
    if not set(kinds.values()) <= set(Field.Kind.values) or "" in kinds:
        raise ValueError(text)
    return kinds
