"""Import predictions from a file: ``hoshina import_predictions``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.http import local_user
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.external.jobs import prediction_lines


class Command(HoshinaCommand):
    help = "Import predictions of another model as a version that queues, sweeps, the map and exports use."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path,
            help="a CSV, .npz or .parquet file: a column that names the image, and a column p:<class> for each class; "
            "or the columns label and score",
        )  # fmt: skip
        add_common_arguments(parser)
        parser.add_argument("--name", default="", help="name of the model (default: the name of the file)")
        parser.add_argument(
            "--key", default="", choices=("item_id", "path", "name", "sha256"),
            help="what the keys are (default: found from the name of their column)",
        )  # fmt: skip
        parser.add_argument("--create-classes", action="store_true", help="create missing classes")
        parser.add_argument("--no-use", action="store_true", help="import only; the version in use stays")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        params = {
            "file": str(options["file"].expanduser().resolve()),
            "name": options["name"],
            "key": options["key"],
            "create": options["create_classes"],
            "use": not options["no_use"],
            "by": local_user().get_username(),
        }
        result = run_command_job(self, "import_predictions", dataset.pk, params, as_json=options["json"]).result
        self.print_result(result, prediction_lines(result), as_json=options["json"])
