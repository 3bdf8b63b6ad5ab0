"""Define ``hoshina similar ITEM …`` and ``hoshina similar --file PATH``: list the most similar images."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from hoshina.core.commands import HoshinaCommand
from hoshina.core.parsing import whole_number
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset, Item
from sampling.queues.deal import deal
from sampling.queues.outside_examples import keep
from sampling.queues.pull import Filters, pull
from sampling.queues.registry import STRATEGIES
from sampling.queues.similar import Avoid, SimilarParams


class Command(HoshinaCommand):
    help = "List the images most similar to one image, or to any of several, by the cosine of their embeddings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("item", nargs="*", help="its item id, or its path within the folder")
        parser.add_argument(
            "--file", action="append", default=[], metavar="PATH", type=Path,
            help="an image file from outside the dataset; may come again",
        )  # fmt: skip
        parser.add_argument(
            "--avoid-labels", action="store_true", help="prefer images unlike all labeled ones, to find a new class"
        )
        parser.add_argument("-k", type=int, default=20, metavar="K", help="number of images (default 20)")
        parser.add_argument("--at-least", type=float, default=-1.0, metavar="S", help="least similarity (-1 to 1)")
        parser.add_argument("--unlabelled", action="store_true", help="only images without a decision")
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["k"] < 1:
            raise CommandError("-k has to be at least 1.", returncode=2)
        if not options["item"] and not options["file"]:
            raise CommandError("Give an image of the dataset, or an image file with --file.", returncode=2)
        dataset = pick_dataset(options["dataset"])
        examples = [_item(dataset, name) for name in options["item"]]
        files = [_kept(dataset, path) for path in options["file"]]
        rows = ",".join(str(item.row) for item in examples)
        avoid: Avoid = "labels" if options["avoid_labels"] else "nothing"
        params = SimilarParams(to=rows, at_least=options["at_least"], file=",".join(files), avoid=avoid)
        filters = Filters() if options["unlabelled"] else Filters(state=None)
        round_ = pull(dataset, STRATEGIES["similar"], params, filters, seed=0, k=options["k"])
        found = deal(round_, 0, options["k"], holder="", is_continued=False).tiles
        items = [{"item_id": tile.item.pk, "path": tile.item.path, "similarity": tile.shown.score} for tile in found]
        result: dict[str, Any] = {"item_id": examples[0].pk if examples else None, "items": items}
        result |= {"like": [item.pk for item in examples]} if len(examples) > 1 else {}
        result |= {"files": files} if files else {}
        lines = [f"{tile.shown.score:.4f}  {tile.item.path}" for tile in found]
        self.print_result(result, lines or ["No other image is this similar."], as_json=options["json"])


def _kept(dataset: Dataset, path: Path) -> str:
    """Return the name of a file's copy in the store."""
    try:
        with path.open("rb") as source:
            return keep(dataset, source)
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}). Check the path.") from error


def _item(dataset: Dataset, name: str) -> Item:
    items = Item.objects.filter(dataset=dataset)
    found = items.filter(path=name).first()
    if found is None:
        found = items.filter(pk=whole_number(name) or 0).first()
    if found is None:
        raise CommandError(f"There is no image {name!r} in {dataset}. Give its item id or its path within the folder.")
    return found
