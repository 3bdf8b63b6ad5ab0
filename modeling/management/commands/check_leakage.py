"""Define ``hoshina check_leakage``: look for near-duplicates in the foreground."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset


class Command(HoshinaCommand):
    help = "Look for near-duplicates among all images. Exports keep them in one split."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        result = run_command_job(self, "check_leakage", dataset.pk, {}, as_json=options["json"]).result
        lines = [
            f"{counted(result['pairs'], 'pair')} of near-duplicates in {counted(result['groups'], 'group')} among "
            f"{counted(result['images'], 'image')}, in {result['seconds']:.1f} s."
        ]
        if result["pairs"]:
            lines.append("Exports keep each group in one split, and list the pairs in leakage.csv.")
        if left_out := result["unreadable"] + result["blank"]:
            lines.append(f"{counted(left_out, 'image')} could not be compared: unreadable or blank.")
        self.print_result(result, lines, as_json=options["json"])
