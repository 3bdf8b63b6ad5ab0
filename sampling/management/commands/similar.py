"""``manage.py similar ITEM``: what looks like it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset, Item
from sampling.dealing import deal
from sampling.queues import STRATEGIES, SimilarParams
from sampling.selection import CannotRank, Filters, pull
from sampling.strategies import BadParameter


class Command(BaseCommand):
    help = "List the images most like one image, by the cosine of their vectors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("item", help="its item id, or its path within the folder")
        parser.add_argument("-k", type=int, default=20, metavar="K", help="how many (default 20)")
        parser.add_argument("--unlabelled", action="store_true", help="only images without a decision")
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["k"] < 1:
            raise CommandError("-k has to be at least 1.", returncode=2)
        dataset = pick_dataset(options["dataset"])
        item = _item(dataset, options["item"])
        params = SimilarParams(to=str(item.row))
        filters = Filters() if options["unlabelled"] else Filters(state=None)
        try:
            round_ = pull(dataset, STRATEGIES["similar"], params, filters, seed=0, k=options["k"])
        except (CannotRank, BadParameter) as problem:
            raise CommandError(str(problem)) from problem
        found = deal(round_, 0, options["k"], holder="", is_continued=False).tiles
        if options["json"]:
            items = [
                {"item_id": tile.item.pk, "path": tile.item.path, "similarity": tile.shown["score"]} for tile in found
            ]
            self.stdout.write(json.dumps({"item_id": item.pk, "items": items}))
            return
        for tile in found:
            self.stdout.write(f"{tile.shown['score']:.4f}  {tile.item.path}")


def _item(dataset: Dataset, name: str) -> Item:
    items = Item.objects.filter(dataset=dataset)
    found = items.filter(path=name).first() or (items.filter(pk=int(name)).first() if name.isdigit() else None)
    if found is None:
        raise CommandError(f"There is no image {name!r} in {dataset}. Give its item id or its path within the folder.")
    return found
