"""``hoshina ingest --data-dir FOLDER``: read a folder of images into a dataset."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from hoshina.core.commands import Failure, HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from hoshina.jobs.errors import JobError
from labeling.display.settings import rewrite
from labeling.images.folder_walk import walk
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.images.rendering import FIRST_ROWS, Rendering
from labeling.ingest.dataset_folder import dataset_for, folder_problem
from labeling.ingest.grouping_preview import Example, Preview, preview_grouping
from labeling.ingest.grouping_template import MAX_ROLES, GroupingProblem, Template
from labeling.models import Dataset

_SHOWN = 20


class Command(HoshinaCommand):
    help = "Read a folder of images into a dataset; safe to run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data-dir",
            default=settings.DATA_DIR,
            required=settings.DATA_DIR is None,
            metavar="FOLDER",
            help="the folder of images, with all below it (default: AL_DATA_DIR)",
        )
        parser.add_argument("--dataset", metavar="NAME", help="its name (default: the folder's)")
        parser.add_argument(
            "--extensions",
            type=_extensions,
            metavar='".jpg,.png"',
            help=f"endings of the file names to read (default: {','.join(DEFAULT_EXTENSIONS)})",
        )
        parser.add_argument(
            "--hdu",
            type=_hdu,
            metavar="N",
            help="which part of FITS files to show, counted from 0; 'first': the first image (kept for next time)",
        )
        parser.add_argument(
            "--first-row",
            choices=FIRST_ROWS,
            help="where FITS images begin whose header has no ROWORDER card (kept for next time)",
        )
        parser.add_argument(
            "--cut-files",
            choices=("refuse", "show"),
            help="what to do with files that end too early; 'show': the missing part gray (kept for next time)",
        )
        parser.add_argument(
            "--group",
            metavar='"{id}_{role}.fits"',
            help="make one item of several files whose paths end like this, from now on; '' for one of each file",
        )
        parser.add_argument(
            "--roles", type=_roles, default=[], metavar="target,ref,diff", help="the roles that count, in their order"
        )
        parser.add_argument(
            "--try", dest="is_trial", action="store_true", help="tell what --group would make of the folder; no more"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        template = _template(options)
        if options["is_trial"]:
            self._try(template, options)
            return
        try:
            dataset = dataset_for(options["data_dir"], options["dataset"])
        except JobError as error:
            raise Failure(error.message, error.hint) from error
        params: dict[str, Any] = {"extensions": options["extensions"]} if options["extensions"] else {}
        if wanted := _wanted_rendering(options):
            params["reread"] = rewrite(dataset, replace(dataset.shown_as, **wanted))
        if options["group"] is not None:
            params["grouping"] = template.text if template else ""
        job = run_command_job(self, "ingest", dataset.pk, params, as_json=options["json"])
        if options["json"]:
            # The job keeps the first failures only; here they are all wanted.
            failed = list(dataset.problems.values("path", "reason"))
            self.stdout.write(json.dumps(job.result | {"failed": failed}))
        else:
            self._print(dataset, job.result)

    def _try(self, template: Template | None, options: dict[str, Any]) -> None:
        if template is None:
            raise CommandError("Give a template to try: --group TEMPLATE.", returncode=2)
        folder = Path(options["data_dir"]).expanduser()
        words = folder_problem(folder)
        if words:
            raise CommandError(words)
        extensions = options["extensions"] or DEFAULT_EXTENSIONS
        preview = preview_grouping(template, lambda: walk(folder, extensions, skip=settings.STORE_DIR))
        self.print_result(preview.as_json(), _in_words(preview), as_json=options["json"])

    def _print(self, dataset: Dataset, result: dict[str, Any]) -> None:
        moved = f"{result['moved']:,} moved, " if result["moved"] else ""
        files = f" from {counted(result['frames'], 'file')}" if "frames" in result else ""
        self.stdout.write(
            f"{result['dataset']}: {counted(result['items'], 'item')}{files} ({result['new']:,} new, "
            f"{result['changed']:,} changed, {result['unchanged']:,} unchanged, "
            f"{moved}{result['missing']:,} missing) in {result['seconds']:.1f} s"
        )
        if result.get("incomplete"):
            self.stdout.write(
                f"{result['incomplete']:,} are incomplete: they lack one of {', '.join(result['roles'])}."
            )
        if result.get("left_out"):
            self.stdout.write(f"Left out: {counted(result['left_out'], 'file')} of other roles.")
        if result["n_failed"]:
            what = "were not grouped or could not be read" if "frames" in result else "could not be read"
            self.stdout.write(f"{result['n_failed']:,} {what}:")
            for problem in dataset.problems.all()[:_SHOWN]:
                self.stdout.write(f"  {_on_one_line(problem.path)}: {problem.reason}")
            if result["n_failed"] > _SHOWN:
                self.stdout.write(f"  … and {result['n_failed'] - _SHOWN:,} more, on the Problems page")
        for noted in result["noted"][:_SHOWN]:
            self.stdout.write(f"Shown, with a note: {_on_one_line(noted['path'])}: {noted['note']}")


def _wanted_rendering(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the options say of how images are shown."""
    wanted: dict[str, Any] = {}
    if options["hdu"] is not None:
        wanted["hdu"] = options["hdu"].number
    if options["first_row"] is not None:
        wanted["first_row"] = options["first_row"]
    if options["cut_files"] is not None:
        wanted["shows_cut"] = options["cut_files"] == "show"
    return wanted


def _in_words(preview: Preview) -> list[str]:
    """The preview in lines for people."""
    if not preview.n_files:
        return ["There are no images in this folder."]
    files = "the first files" if preview.is_partial else "files"
    lines = [f"{preview.n_files:,} {files} make {counted(preview.n_groups, 'item')} by {preview.template}."]
    if preview.roles:
        lines.append("Roles: " + ", ".join(f"{role} ({n:,})" for role, n in list(preview.roles.items())[:MAX_ROLES]))
    if preview.has_too_many_roles:
        lines.append(
            f"These are {len(preview.roles):,} roles, more than an item may have ({MAX_ROLES}). Is {{role}} in the right "
            "place? You may name those that count."
        )
    lines += _listed("Complete", preview.n_complete, preview.complete, "")
    lines += _listed("Incomplete", preview.n_incomplete, preview.incomplete, "no ")
    lines += _listed("Of a role that another file has", preview.n_doubled, preview.doubled, "also ")
    return lines + _listed("Left out", preview.n_unmatched, preview.unmatched, "")


def _listed(title: str, n: int, examples: Sequence[Example], before: str) -> list[str]:
    shown = [f"  {_on_one_line(one.path)}" + (f": {before}{one.words}" if one.words else "") for one in examples]
    return [f"{title}: {n:,}" + (", such as" if n > len(examples) else ""), *shown] if n else []


def _template(options: dict[str, Any]) -> Template | None:
    if options["roles"] and not options["group"]:
        raise CommandError("--roles are those of a template: give --group too.", returncode=2)
    try:
        return Template.read(options["group"], options["roles"]) if options["group"] else None
    except GroupingProblem as problem:
        raise CommandError(str(problem), returncode=2) from problem


def _roles(text: str) -> list[str]:
    return [role.strip() for role in text.split(",")]


@dataclass(frozen=True)
class _Hdu:
    """The answer to --hdu; without a number, the first image."""

    number: int | None


def _hdu(text: str) -> _Hdu:
    if text == "first":
        return _Hdu(None)
    try:
        return _Hdu(Rendering(hdu=int(text)).hdu)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no HDU: they count from 0; or say 'first'.") from error


def _on_one_line(path: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in path)


def _extensions(text: str) -> list[str]:
    """``".jpg, png"`` to ``[".jpg", ".png"]``."""
    endings = [f".{part.strip().lower().lstrip('.')}" for part in text.split(",") if part.strip(" .")]
    if not endings or not all(re.fullmatch(r"(\.\w+)+", ending) for ending in endings):
        raise argparse.ArgumentTypeError(f"{text!r} names no endings; expected some like '.jpg,.png'.")
    return endings
