"""Read a folder of images into a dataset: ``hoshina ingest --data-dir FOLDER``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.display.settings import rewrite
from labeling.images.containers import ARCHIVES
from labeling.images.folder_walk import walk
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.images.rendering import FIRST_ROWS, Rendering
from labeling.ingest.dataset_folder import dataset_for, folder_problem
from labeling.ingest.grouping_preview import Example, Preview, preview_grouping
from labeling.ingest.grouping_template import MAX_ROLES, GroupingProblem, Template
from labeling.ingest.unpack import unpack
from labeling.models import Dataset

_SHOWN = 20


class Command(HoshinaCommand):
    help = "Read a folder of images into a dataset. It is safe to run it again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data-dir", default=settings.DATA_DIR, required=settings.DATA_DIR is None, metavar="FOLDER",
            help="the folder of images, including its subfolders (default: AL_DATA_DIR)",
        )  # fmt: skip
        parser.add_argument("--dataset", metavar="NAME", help="name of the dataset (default: name of the folder)")
        parser.add_argument(
            "--extensions", type=_extensions, metavar='".jpg,.png"',
            help=f"extensions of the files to read (default: {','.join(DEFAULT_EXTENSIONS)})",
        )  # fmt: skip
        parser.add_argument(
            "--hdu", type=_hdu, metavar="N",
            help="part of FITS files to show, counted from 0, or 'first' for the first image (saved for the dataset)",
        )  # fmt: skip
        parser.add_argument(
            "--first-row", choices=FIRST_ROWS,
            help="position of the first row of FITS images without a ROWORDER card (saved for the dataset)",
        )  # fmt: skip
        parser.add_argument(
            "--cut-files", choices=("refuse", "show"),
            help="refuse truncated files, or show them with the missing part in gray (saved for the dataset)",
        )  # fmt: skip
        parser.add_argument(
            "--group", metavar='"{id}_{role}.fits"',
            help="group files whose paths end like this into one item from now on; '' makes each file an item",
        )  # fmt: skip
        parser.add_argument(
            "--roles", type=lambda text: [role.strip() for role in text.split(",")], default=[],
            metavar="target,ref,diff", help="the roles to use, in order",
        )  # fmt: skip
        parser.add_argument(
            "--try", dest="is_trial", action="store_true", help="only preview how --group would group the files"
        )
        parser.add_argument(
            "--labels-from-folders", action="store_true",
            help="label the images that nobody decided yet by their class folders; train, val and test above them "
            "become the field split",
        )  # fmt: skip
        parser.add_argument(
            "--unpack", action="store_true", help="the folder is a ZIP or TAR archive: unpack its images into the store"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        template = _template(options)
        if options["is_trial"]:
            self._try(template, options)
            return
        if options["unpack"]:
            self._unpack(options)
        dataset = dataset_for(options["data_dir"], options["dataset"])
        params: dict[str, Any] = {"extensions": options["extensions"]} if options["extensions"] else {}
        if changes := _rendering_changes(options):
            params["reread"] = rewrite(dataset, replace(dataset.shown_as, **changes))
        if options["labels_from_folders"]:
            params["labels_from_folders"] = True
        if options["group"] is not None:
            params["grouping"] = template.text if template else ""
        job = run_command_job(self, "ingest", dataset.pk, params, as_json=options["json"])
        result = dict(job.result)
        if options["json"]:  # the result of the job has only the first failures
            result |= {"failed": list(dataset.problems.values("path", "reason"))}
        self.print_result(result, self._lines(dataset, job.result), as_json=options["json"])

    def _try(self, template: Template | None, options: dict[str, Any]) -> None:
        if template is None:
            raise CommandError("Give a template to preview: --group TEMPLATE.", returncode=2)
        folder = Path(options["data_dir"]).expanduser()
        problem = folder_problem(folder)
        if problem:
            raise CommandError(problem)
        extensions = options["extensions"] or DEFAULT_EXTENSIONS
        preview = preview_grouping(template, lambda: walk(folder, extensions, skip=settings.STORE_DIR))
        self.print_result(preview.as_json(), _summary(preview), as_json=options["json"])

    def _unpack(self, options: dict[str, Any]) -> None:
        """Unpack the archive, and take its folder in its place."""
        archive = Path(options["data_dir"]).expanduser()
        unpacked = unpack(archive)
        name = archive.name[: -len(next(ending for ending in ARCHIVES if archive.name.lower().endswith(ending)))]
        options["data_dir"], options["dataset"] = unpacked.folder, options["dataset"] or name
        if not options["json"]:
            left_out = ", ".join(f"{number:,} {reason}" for reason, number in unpacked.left_out.items())
            self.stdout.write(f"{counted(unpacked.n_images, 'image')} unpacked into {unpacked.folder}.")
            if left_out:
                self.stdout.write(f"Left out: {left_out}.")

    def _lines(self, dataset: Dataset, result: dict[str, Any]) -> list[str]:
        moved = f"{result['moved']:,} moved, " if result["moved"] else ""
        files = f" from {counted(result['frames'], 'file')}" if "frames" in result else ""
        lines = [
            f"{result['dataset']}: {counted(result['items'], 'item')}{files} ({result['new']:,} new, "
            f"{result['changed']:,} changed, {result['unchanged']:,} unchanged, "
            f"{moved}{result['missing']:,} missing) in {result['seconds']:.1f} s"
        ]
        if found := result.get("folder_labels"):
            lines.append(f"{counted(found['applied'], 'image')} labeled by their class folders.")
        if result.get("incomplete"):
            lines.append(f"{result['incomplete']:,} are incomplete: they lack one of {', '.join(result['roles'])}.")
        if result.get("left_out"):
            lines.append(f"Skipped: {counted(result['left_out'], 'file')} of other roles.")
        if result["n_failed"]:
            outcome = "were not grouped or could not be read" if "frames" in result else "could not be read"
            lines.append(f"{result['n_failed']:,} {outcome}:")
            shown = dataset.problems.all()[:_SHOWN]
            lines += [f"  {_on_one_line(problem.path)}: {problem.reason}" for problem in shown]
            if result["n_failed"] > _SHOWN:
                lines.append(f"  … and {result['n_failed'] - _SHOWN:,} more, on the Problems page")
        noted = result["noted"][:_SHOWN]
        return lines + [f"Shown, with a note: {_on_one_line(file['path'])}: {file['note']}" for file in noted]


def _rendering_changes(options: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of the dataset's rendering in the options."""
    changes: dict[str, Any] = {}
    if options["hdu"] is not None:
        changes["hdu"] = options["hdu"].hdu
    if options["first_row"] is not None:
        changes["first_row"] = options["first_row"]
    if options["cut_files"] is not None:
        changes["shows_cut"] = options["cut_files"] == "show"
    return changes


def _summary(preview: Preview) -> list[str]:
    """Return the preview as lines of text."""
    if not preview.n_files:
        return ["There are no images in this folder."]
    files = "the first files" if preview.is_partial else "files"
    lines = [f"{preview.n_files:,} {files} form {counted(preview.n_groups, 'item')} with {preview.template}."]
    if preview.roles:
        lines.append("Roles: " + ", ".join(f"{role} ({n:,})" for role, n in list(preview.roles.items())[:MAX_ROLES]))
    if preview.has_too_many_roles:
        lines.append(
            f"There are {len(preview.roles):,} roles, but an item can have at most {MAX_ROLES}. Check the position of "
            "{role}, or name the roles to use."
        )
    lines += _listed("Complete", preview.n_complete, preview.complete, "")
    lines += _listed("Incomplete", preview.n_incomplete, preview.incomplete, "no ")
    lines += _listed("Same role as another file", preview.n_doubled, preview.doubled, "also ")
    return lines + _listed("Left out", preview.n_unmatched, preview.unmatched, "")


def _listed(title: str, n: int, examples: Sequence[Example], before: str) -> list[str]:
    shown = [
        f"  {_on_one_line(example.path)}" + (f": {before}{example.note}" if example.note else "")
        for example in examples
    ]
    return [f"{title}: {n:,}" + (", such as" if n > len(examples) else ""), *shown] if n else []


def _template(options: dict[str, Any]) -> Template | None:
    if options["roles"] and not options["group"]:
        raise CommandError("--roles requires a template. Give one with --group.", returncode=2)
    try:
        return Template.read(options["group"], options["roles"]) if options["group"] else None
    except GroupingProblem as problem:
        raise CommandError(str(problem), returncode=2) from problem


def _hdu(text: str) -> Rendering:
    """Return a rendering with the HDU of --hdu, which is None for the first image."""
    if text == "first":
        return Rendering()
    try:
        return Rendering(hdu=int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an HDU. Give a number from 0, or 'first'.") from error


def _on_one_line(path: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in path)


def _extensions(text: str) -> list[str]:
    """Parse ``".jpg, png"`` as ``[".jpg", ".png"]``."""
    endings = [f".{part.strip().lower().lstrip('.')}" for part in text.split(",") if part.strip(" .")]
    if not endings or not all(re.fullmatch(r"(\.\w+)+", ending) for ending in endings):
        raise argparse.ArgumentTypeError(f"{text!r} contains no extensions. Expected extensions such as '.jpg,.png'.")
    return endings
