"""Define ``hoshina dataset``: rename, archive or delete a dataset, or show its contents."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.datasets import deletion, edits
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import pick_dataset
from labeling.models import Dataset

_TEXTS = ("description", "license", "citation")


class Command(HoshinaCommand):
    help = "Rename, archive or delete a dataset; without an option, show what it holds. Images are never touched."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="name of the dataset")
        action = parser.add_mutually_exclusive_group()
        action.add_argument("--rename", metavar="NEW", help="give it another name; its address stays")
        action.add_argument("--archive", action="store_true", help="list it apart, without scans and trainings")
        action.add_argument("--unarchive", action="store_true", help="use it again")
        action.add_argument(
            "--delete", action="store_true", help="delete its labels, models and everything else but the image files"
        )
        for name in _TEXTS:
            action.add_argument(f"--{name}", metavar="TEXT", help=f"set its {name}, which exports contain")
        parser.add_argument("--yes", action="store_true", help="with --delete: do not ask for the name")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset, as_json = pick_dataset(options["name"]), options["json"]
        if options["delete"]:
            result, lines = self._delete(dataset, is_confirmed=options["yes"], as_json=as_json)
        else:
            if options["rename"] is not None:
                edits.rename(dataset, options["rename"])
            elif texts := {name: options[name] for name in _TEXTS if options[name] is not None}:
                edits.describe(dataset, **texts)
            elif options["archive"] or options["unarchive"]:
                edits.set_archived(dataset, options["archive"])
            result, lines = _described(dataset)
        self.print_result(result, lines, as_json=as_json)

    def _delete(self, dataset: Dataset, *, is_confirmed: bool, as_json: bool) -> tuple[dict[str, Any], list[str]]:
        if not is_confirmed:
            self._confirm(dataset)
        deletion.hide(dataset)
        try:
            job = run_command_job(self, deletion.KIND, dataset.pk, {"name": dataset.name}, as_json=as_json)
        except Refusal as refusal:
            hint = f"{refusal.hint} The rest is deleted when you start this job again on the Jobs page.".strip()
            raise Refusal(refusal.message, hint) from refusal
        result = dict(job.result)
        freed, reusable = (filesizeformat(result[name]) for name in ("freed_bytes", "reusable_bytes"))
        lines = [f"Deleted {result['dataset']}: {freed} of the disk freed, {reusable} in the database to be reused."]
        return result, lines

    def _confirm(self, dataset: Dataset) -> None:
        """Raise Refusal unless the person types the name of the dataset."""
        hint = f"Export its labels first (hoshina export --dataset {dataset.slug}), then add --yes."
        if not sys.stdin.isatty():
            raise Refusal(f"This would delete {dataset.name} with its labels.", hint)
        for line in _described(dataset)[1]:
            self.stderr.write(line)
        self.stderr.write("Image files are not touched. Type the name of the dataset to delete everything else:")
        if input().strip() != dataset.name:
            raise Refusal("That is not its name, so nothing was deleted.")


def _described(dataset: Dataset) -> tuple[dict[str, Any], list[str]]:
    contents = deletion.contents_of(dataset)
    result = {"dataset": dataset.name, "slug": dataset.slug, "archived": dataset.archived_at is not None}
    result |= {name: getattr(dataset, name) for name in _TEXTS}
    lines = [
        f"{dataset.name}{' (archived)' if dataset.archived_at else ''}: {counted(contents.n_items, 'item')}, "
        f"{contents.n_decided:,} with a decision",
        f"{counted(contents.n_models, 'model')}, {counted(contents.n_embeddings, 'embedding')}, "
        f"{counted(contents.n_maps, 'map')}, {counted(contents.n_fields, 'field')}, "
        f"{filesizeformat(contents.n_bytes)} of files in the store",
    ]
    names = {"n_items": "items", "n_decided": "decided", "n_models": "models", "n_embeddings": "embeddings"}
    names |= {"n_maps": "maps", "n_fields": "fields", "n_bytes": "bytes"}
    return result | {names[name]: value for name, value in asdict(contents).items()}, lines
