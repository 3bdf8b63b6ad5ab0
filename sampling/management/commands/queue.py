"""Define ``hoshina queue NAME``: list what to label next."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict, fields
from typing import Any

from django.core.management.base import CommandError
from django.http import QueryDict

from hoshina.core.commands import Failure, HoshinaCommand
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset, State
from sampling.models import Round
from sampling.queues.deal import deal
from sampling.queues.dispatch import comparison_for
from sampling.queues.empty_state import nothing_left
from sampling.queues.field_filter import PREFIX, Condition, conditions_from
from sampling.queues.pull import Filters, new_seed, pull
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import parse_params


class Command(HoshinaCommand):
    help = "Rank the unlabeled images with a queue (Suspects: the labeled ones) and list the first of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=sorted(STRATEGIES), help="which queue")
        parser.add_argument("-n", type=int, default=20, metavar="N", help="how many images (default 20)")
        parser.add_argument("--seed", type=int, help="repeat a pull: same seed, same labels, same ranking")
        parser.add_argument(
            "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the queue"
        )
        parser.add_argument(
            "--filter", action="append", default=[], metavar="FIELD=VALUE",
            help="only images whose field is so: a range like 2..5, a text, or unknown; may come again",
        )  # fmt: skip
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["n"] < 1:
            raise CommandError("-n has to be at least 1.", returncode=2)
        dataset = pick_dataset(options["dataset"])
        strategy = STRATEGIES[options["name"]]
        given = dict(_pair("--param", text) for text in options["param"])
        known = [field.name for field in fields(strategy.params)]
        if unknown := sorted(given.keys() - set(known)):
            takes = f"It takes {', '.join(known)}." if known else "It takes none."
            raise Failure(f"{strategy.title} has no parameter {unknown[0]!r}.", takes, returncode=2)
        seed = new_seed() if options["seed"] is None else options["seed"]
        filters = Filters(
            State.LABELLED if strategy.needs_held_out else State.UNLABELLED,
            fields=_conditions(options["filter"]),
        )
        params = parse_params(strategy, given)
        comparison = comparison_for(dataset, strategy.name, asdict(params))
        if comparison is not None:
            run_command_job(self, "oddness", dataset_id=dataset.pk, params=comparison, as_json=options["json"])
        # As many ranks as a page stores: some draws depend on their number.
        k = options["n"] if strategy.is_sweep else max(options["n"], strategy.kept)
        round_ = pull(dataset, strategy, params, filters, seed=seed, k=k)
        tiles = deal(round_, 0, options["n"], holder="", is_continued=False).tiles
        if options["json"]:
            items = [
                {
                    "item_id": tile.item.pk,
                    "path": tile.item.path,
                    "score": tile.shown.score,
                    "probability": tile.shown.selection_probability,
                    "reason": tile.reason,
                }
                for tile in tiles
            ]
            told = {"round": round_.pk, "queue": strategy.name, "seed": seed, "items": items}
            self.stdout.write(json.dumps(told if tiles else {**told, "note": _why_none(dataset, round_)}))
            return
        self.stdout.write(f"{strategy.title}: {strategy.help} (round {round_.pk}, seed {seed})")
        for tile in tiles:
            self.stdout.write(f"{tile.rank + 1:>6}  {tile.shown.score:.4f}  {tile.item.path}")
        if not tiles:
            self.stdout.write(_why_none(dataset, round_))


def _why_none(dataset: Dataset, round_: Round) -> str:
    empty = nothing_left(dataset, round_)
    return f"{empty.title}. {empty.text}"


def _conditions(given: list[str]) -> tuple[Condition, ...]:
    asked = QueryDict(mutable=True)
    for text in given:
        name, value = _pair("--filter", text)
        asked.appendlist(PREFIX + name, value)
    return conditions_from(asked)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise CommandError(f"{option} takes NAME=VALUE, not {text!r}.", returncode=2)
    return name, value
