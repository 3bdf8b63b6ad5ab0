"""Export a dataset's labels as a ZIP archive: ``hoshina export``."""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.core.storage import replacing
from labeling.exporting import Export, Options, parse_splits, sections
from labeling.exporting.images import images_size
from labeling.fields.split_groups import chosen
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset

LEFT_OUT = "The image files are not included, because they total 1 GB or more. Add --with-images to include them."


class Command(HoshinaCommand):
    help = "Write a dataset's labels, classes and splits (and images, predictions) as a ZIP archive."

    def add_arguments(self, parser: CommandParser) -> None:
        add_common_arguments(parser)
        parser.add_argument("--output", type=Path, help="the archive to write (default: <dataset>.zip)")
        images = parser.add_mutually_exclusive_group()
        images.add_argument(
            "--with-images", dest="with_images", action="store_true", default=None,
            help="include the files of the labeled images (default: if they total less than 1 GB)",
        )  # fmt: skip
        images.add_argument(
            "--no-images", dest="with_images", action="store_false", default=None, help="do not include image files"
        )
        for section in sections():
            parser.add_argument(
                f"--with-{section.name}", dest="extras", action="append_const", const=section.name,
                help=section.title,
            )  # fmt: skip
        parser.add_argument("--seed", type=int, default=0, help="seed of the splits (default: 0)")
        parser.add_argument(
            "--splits", type=_splits, default=Options().splits, metavar="TRAIN,VAL,TEST",
            help="percentages of the labeled items (default: 80,10,10)",
        )  # fmt: skip
        parser.add_argument(
            "--group-by", metavar="FIELD",
            help="items with equal values in this field share a split, so that no group leaks into the test set "
            "(default: the field chosen for the dataset, see import_fields; \"\" for none)",
        )  # fmt: skip
        parser.add_argument(
            "--escape-formulas",
            action="store_true",
            help="put an apostrophe before texts that a spreadsheet would run as formulas",
        )
        parser.add_argument("--force", action="store_true", help="overwrite any existing file")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        output = (options["output"] or Path(f"{dataset.slug}.zip")).expanduser().absolute()
        if not options["force"]:
            _refuse_overwriting(output)
        chosen_options = _chosen(dataset, options)
        try:
            export = Export(dataset, chosen_options)
            sha256 = write(export, output)
        except OSError as error:
            raise CommandError(f"{output} could not be written: {error.strerror or error}.") from error
        result = {"path": str(output), "items": export.rows, "sha256": sha256, "images": chosen_options.with_images}
        lines = [f"{counted(export.rows, 'item')} with a decision written to {output}", f"sha256 {sha256}"]
        self.print_result(result, lines, as_json=options["json"])
        if options["with_images"] is None and not chosen_options.with_images:
            self.stderr.write(LEFT_OUT)


def _chosen(dataset: Dataset, options: dict[str, Any]) -> Options:
    group_by: str | None = options["group_by"]
    if group_by is None:
        field = chosen(dataset)
        group_by = field.name if field else ""
    try:
        return Options(
            with_images=images_size(dataset).is_included if options["with_images"] is None else options["with_images"],
            seed=options["seed"],
            splits=options["splits"],
            extras=frozenset(options["extras"] or ()),
            group_by=group_by,
            escapes_formulas=options["escape_formulas"],
        )
    except Refusal as error:
        raise CommandError(str(error), returncode=2) from error


def _splits(text: str) -> tuple[int, int, int]:
    try:
        return parse_splits(text)
    except Refusal as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _refuse_overwriting(output: Path) -> None:
    """Raise CommandError unless the output is new, empty or an earlier export."""
    if output.is_dir():
        raise CommandError(f"{output} is a folder. Give the name of a file with --output.")
    if not output.exists() or output.stat().st_size == 0 or _is_export(output):
        return
    raise CommandError(f"{output} exists and is not an earlier export. Add --force to overwrite it.")


def _is_export(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = json.loads(archive.read("manifest.json"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("app", {}).get("name") == "hoshina"


def write(export: Export, output: Path) -> str:
    """Write the archive under a temporary name, rename it, and return its SHA-256."""
    digest = hashlib.sha256()
    with replacing(output) as stream:
        for piece in export:
            digest.update(piece)
            stream.write(piece)
    return digest.hexdigest()
