"""Define ``hoshina project_map``: compute a map of the dataset in the foreground."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.parsing import add_option_arguments, given_options
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.maps.options import MapOptions
from modeling.maps.projections import checked

_FLAGS = {"n_neighbors": "--neighbours", "is_supervised": "--supervised", "by_library": "--by-library"}


class Command(HoshinaCommand):
    help = "Compute a map of all images, with similar images close to each other. Earlier maps are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)
        add_option_arguments(parser, MapOptions, _FLAGS, asdict(MapOptions()), leave_out={"is_automatic"})

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        values = given_options(MapOptions, options)
        try:
            wanted = checked(dataset, values.pop("method", "umap"), values)
        except Refusal as error:
            flag = _FLAGS.get(error.field, f"--{error.field.replace('_', '-')}")
            if not error.field:
                raise
            raise CommandError(f"{flag}: {error}", returncode=2) from error
        job = run_command_job(self, "project_map", dataset.pk, asdict(wanted), as_json=options["json"])
        result = job.result
        placed = result["points"] - result["fitted"]
        by_others = f", {placed:,} of them placed by their neighbors" if placed else ""
        line = (
            f"Map {result['name']!r}: {counted(result['points'], 'image')}{by_others}, in {result['seconds']:.1f} s. "
            f"Trustworthiness {result['trustworthiness']:.3f}."
        )
        self.print_result(result, [line], as_json=options["json"])
