"""Export a dataset's labels as a ZIP archive or a folder, in one of several layouts: ``hoshina export``."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
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
from labeling.exporting.layouts import layout_named
from labeling.exporting.options import DEFAULT_LAYOUT
from labeling.fields.split_groups import chosen
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset

MANIFEST = "manifest.json"
LEFT_OUT = "The image files are not included, because they total 1 GB or more. Add --with-images to include them."


class Command(HoshinaCommand):
    help = "Write a dataset's labels, classes and splits (and images, predictions) as a ZIP archive or a folder."

    def add_arguments(self, parser: CommandParser) -> None:
        add_common_arguments(parser)
        parser.add_argument(
            "--output",
            type=Path,
            help="the archive or folder to write (default: <dataset>.zip, with --folder <dataset>)",
        )
        parser.add_argument(
            "--layout", metavar="NAME", default=DEFAULT_LAYOUT,
            help=f"how images and labels are arranged, such as imagefolder or coco (default: {DEFAULT_LAYOUT})",
        )  # fmt: skip
        parser.add_argument("--folder", action="store_true", help="write a folder instead of a ZIP archive")
        parser.add_argument(
            "--link", action="store_true",
            help="with --folder: make hard links to the image files instead of copies",
        )  # fmt: skip
        parser.add_argument(
            "--role", default="", help="the file of each item to export, for items with several files and other layouts"
        )
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
        parser.add_argument(
            "--as-of", default="", metavar="TIME|ROUND",
            help="rebuild the export of an earlier time (2026-05-31 or 2026-05-31T18:00+02:00; in UTC without a zone), "
            "or as it was after the last decision of a round",
        )  # fmt: skip
        parser.add_argument(
            "--number-annotators", action="store_true", help="give people numbers in place of their names"
        )
        parser.add_argument(
            "--with-unsure", action="store_true",
            help="other layouts: include unsure and skipped images, as the classes unsure and skipped",
        )  # fmt: skip
        parser.add_argument(
            "--no-leakage-check", dest="leakage_check", action="store_false",
            help="do not keep near-duplicates in one split; the manifest says so",
        )  # fmt: skip
        parser.add_argument("--force", action="store_true", help="overwrite any existing file")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        if options["link"] and not options["folder"]:
            raise CommandError("--link needs --folder: an archive has copies.", returncode=2)
        output = (options["output"] or _default_output(dataset, options)).expanduser().absolute()
        layout_named(options["layout"])
        if options["layout"] != DEFAULT_LAYOUT and options["with_images"] is False:
            raise CommandError(f"The layout {options['layout']} is nothing without images.", returncode=2)
        if options["folder"]:
            _refuse_replacing(output)
        elif not options["force"]:
            _refuse_overwriting(output)
        chosen_options = _chosen(dataset, options)
        try:
            export = Export(dataset, chosen_options)
            sha256 = write_folder(export, output, links=options["link"]) if options["folder"] else write(export, output)
        except OSError as error:
            raise CommandError(f"{output} could not be written: {error.strerror or error}.") from error
        result = {"path": str(output), "items": export.rows, "sha256": sha256, "images": chosen_options.with_images}
        lines = [f"{counted(export.rows, 'item')} with a decision written to {output}", f"sha256 {sha256}"]
        if chosen_options.layout != DEFAULT_LAYOUT:
            # All that can be left out: the layouts have labeled images whose files are there.
            left_out = export.rows - export.n_images
            result |= {"layout": chosen_options.layout, "images": True, "items": export.n_images, "left_out": left_out}
            lines[0] = f"{counted(export.n_images, 'labeled image')} written to {output}"
            if left_out:
                lines.append(f"{counted(left_out, 'item')} left out: unsure, skipped, or without a file")
        self.print_result(result, lines, as_json=options["json"])
        if (
            chosen_options.layout == DEFAULT_LAYOUT
            and options["with_images"] is None
            and not chosen_options.with_images
        ):
            self.stderr.write(LEFT_OUT)


def _default_output(dataset: Dataset, options: dict[str, Any]) -> Path:
    return Path(dataset.slug if options["folder"] else f"{dataset.slug}.zip")


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
            layout=options["layout"],
            role=options["role"],
            as_of=options["as_of"],
            numbers_annotators=options["number_annotators"],
            with_unsure=options["with_unsure"],
            checks_leakage=options["leakage_check"],
        )
    except Refusal as error:
        raise CommandError(str(error), returncode=2) from error


def _splits(text: str) -> tuple[int, int, int]:
    try:
        return parse_splits(text)
    except Refusal as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _refuse_replacing(output: Path) -> None:
    """Raise CommandError unless the folder is new, empty or an earlier export. Nothing else is ever deleted."""
    if not output.exists():
        return
    if not output.is_dir() or (any(output.iterdir()) and not _is_exported_folder(output)):
        raise CommandError(f"{output} exists and is not an earlier export. Choose another folder with --output.")


def _refuse_overwriting(output: Path) -> None:
    """Raise CommandError unless the output is new, empty or an earlier export."""
    if output.is_dir():
        raise CommandError(f"{output} is a folder. Give the name of a file with --output, or add --folder.")
    if not output.exists() or output.stat().st_size == 0 or _is_export(output):
        return
    raise CommandError(f"{output} exists and is not an earlier export. Add --force to overwrite it.")


def _is_export(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = json.loads(archive.read(MANIFEST))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return False
    return _is_manifest(manifest)


def _is_exported_folder(folder: Path) -> bool:
    try:
        return _is_manifest(json.loads((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError):
        return False


def _is_manifest(manifest: Any) -> bool:
    return isinstance(manifest, dict) and manifest.get("app", {}).get("name") == "hoshina"


def write(export: Export, output: Path) -> str:
    """Write the archive under a temporary name, rename it, and return its SHA-256."""
    digest = hashlib.sha256()
    with replacing(output) as stream:
        for piece in export:
            digest.update(piece)
            stream.write(piece)
    return digest.hexdigest()


def write_folder(export: Export, output: Path, *, links: bool) -> str:
    """Write the files into a new folder, put it in place of an earlier export, and return its manifest's SHA-256."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        export.write_folder(new, links=links)
        if output.exists():
            output.rename(old)
        new.rename(output)
    return hashlib.sha256((output / MANIFEST).read_bytes()).hexdigest()
