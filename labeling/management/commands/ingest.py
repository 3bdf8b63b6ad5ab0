"""``manage.py ingest --data-dir FOLDER``: read a folder of images into a dataset."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hoshina.jobs.console import run_command_job
from hoshina.jobs.errors import JobError
from labeling.images.opening import DEFAULT_EXTENSIONS
from labeling.images.rendering import Rendering
from labeling.models import Dataset
from labeling.registering import dataset_for
from labeling.showing import rewrite

_SHOWN = 20


class Command(BaseCommand):
    help = "Read a folder of images into a dataset; safe to run again."
    # They import every page, and someone waits for the first images.
    requires_system_checks: list[str] = []

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
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        try:
            dataset = dataset_for(options["data_dir"], options["dataset"])
        except JobError as error:
            raise CommandError(str(error)) from error
        params: dict[str, Any] = {"extensions": options["extensions"]} if options["extensions"] else {}
        if options["hdu"] is not None:
            params["reread"] = rewrite(dataset, replace(dataset.shown_as, hdu=options["hdu"].number))
        job = run_command_job(self, "ingest", dataset.pk, params, as_json=options["json"])
        if options["json"]:
            # The job keeps the first failures only; here they are all wanted.
            failed = list(dataset.problems.values("path", "reason"))
            self.stdout.write(json.dumps(job.result | {"failed": failed}))
        else:
            self._print(dataset, job.result)

    def _print(self, dataset: Dataset, result: dict[str, Any]) -> None:
        moved = f"{result['moved']:,} moved, " if result["moved"] else ""
        self.stdout.write(
            f"{result['dataset']}: {result['items']:,} items ({result['new']:,} new, "
            f"{result['changed']:,} changed, {result['unchanged']:,} unchanged, "
            f"{moved}{result['missing']:,} missing) in {result['seconds']:.1f} s"
        )
        if result["n_failed"]:
            self.stdout.write(f"{result['n_failed']:,} could not be read:")
            for problem in dataset.problems.all()[:_SHOWN]:
                self.stdout.write(f"  {_on_one_line(problem.path)}: {problem.reason}")
            if result["n_failed"] > _SHOWN:
                self.stdout.write(f"  … and {result['n_failed'] - _SHOWN:,} more, on the Problems page")


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
