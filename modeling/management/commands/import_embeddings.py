"""Import embeddings from a file: ``hoshina import_embeddings``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.http import local_user
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.external.jobs import embedding_lines


class Command(HoshinaCommand):
    help = "Import embeddings that another program computed, matched to images by their ids, paths, names or SHA-256."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a .npy, .npz or .parquet file with one embedding a row")
        add_common_arguments(parser)
        parser.add_argument(
            "--ids", type=Path, metavar="FILE",
            help="text, CSV or .npy file with one key a row, in the order of the embeddings (required for .npy files)",
        )  # fmt: skip
        parser.add_argument("--name", default="", help="name of these embeddings (default: the name of the file)")
        parser.add_argument(
            "--key", default="", choices=("item_id", "path", "name", "sha256"),
            help="what the keys are (default: found from the name of their column or their content)",
        )  # fmt: skip
        parser.add_argument(
            "--replace", action="store_true", help="replace earlier embeddings of this name instead of adding to them"
        )
        parser.add_argument(
            "--no-use", action="store_true", help="import only; do not switch models and queues to them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        ids: Path | None = options["ids"]
        params = {
            "file": str(options["file"].expanduser().resolve()),
            "ids": "" if ids is None else str(ids.expanduser().resolve()),
            "name": options["name"],
            "key": options["key"],
            "replace": options["replace"],
            "use": not options["no_use"],
            "by": local_user().get_username(),
        }
        result = run_command_job(self, "import_embeddings", dataset.pk, params, as_json=options["json"]).result
        self.print_result(result, embedding_lines(result), as_json=options["json"])
