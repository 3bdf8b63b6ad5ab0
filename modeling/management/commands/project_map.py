"""``hoshina project_map``: a map of the dataset, in the foreground."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.maps.options import OptionError
from modeling.maps.projections import checked

_FLAGS = {"n_neighbors": "--neighbours", "is_supervised": "--supervised", "by_library": "--by-library"}


class Command(HoshinaCommand):
    help = "Lay all images out in the plane so that alike ones lie together; several maps can be kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)
        parser.add_argument("--method", choices=["umap", "tsne", "pca"], default="umap", help="default: umap")
        parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same map (default 0)")
        parser.add_argument(
            "--neighbours", dest="n_neighbors", type=int, metavar="N",
            help="UMAP: how many images each is held together with (default 15); more show the whole, fewer the detail",
        )  # fmt: skip
        parser.add_argument(
            "--min-dist", type=float, metavar="D", help="UMAP: how close alike images may lie, 0 to 0.99 (default 0.1)"
        )
        parser.add_argument(
            "--perplexity", type=float, metavar="P", help="t-SNE: how many neighbours an image has, about (default 30)"
        )
        parser.add_argument(
            "--metric", choices=["euclidean", "cosine"], help="compare vectors by distance (default) or by angle alone"
        )
        parser.add_argument(
            "--supervised", dest="is_supervised", action="store_const", const=True,
            help="UMAP: labels have a say, different classes move apart",
        )  # fmt: skip
        parser.add_argument(
            "--by-library", dest="by_library", action="store_const", const=True,
            help="no effect: umap-learn lays out every UMAP (kept for older scripts)",
        )  # fmt: skip
        parser.add_argument("--name", help="what the map is called (default: its method, with a number)")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        names = ("n_neighbors", "min_dist", "perplexity", "metric", "seed", "is_supervised", "by_library", "name")
        try:
            wanted = checked(dataset, options["method"], {name: options[name] for name in names})
        except OptionError as error:
            flag = _FLAGS.get(error.field, f"--{error.field.replace('_', '-')}")
            words = f"{flag}: {error.words}" if error.field else error.words
            raise CommandError(words, returncode=2 if error.field else 1) from error
        job = run_command_job(self, "project_map", dataset.pk, wanted.as_params(), as_json=options["json"])
        if options["json"]:
            self.stdout.write(json.dumps(job.result, ensure_ascii=False))
            return
        told = job.result
        placed = told["points"] - told["fitted"]
        by_others = f", {placed:,} of them placed by their neighbours" if placed else ""
        self.stdout.write(
            f"Map {told['name']!r}: {counted(told['points'], 'image')}{by_others}, in {told['seconds']:.1f} s. "
            f"Trustworthiness {told['trustworthiness']:.3f}."
        )
