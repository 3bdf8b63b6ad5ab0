"""Define ``hoshina queue NAME``: list what to label next."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict, fields
from typing import Any

from django.core.management.base import CommandError
from django.http import QueryDict

from hoshina.core.commands import Failure, HoshinaCommand
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import State
from sampling.queues.deal import deal
from sampling.queues.dispatch import comparison_for
from sampling.queues.empty_state import nothing_left
from sampling.queues.field_filter import PREFIX, Condition, conditions_from
from sampling.queues.note_filter import NoteFilter, note_filter_from
from sampling.queues.pull import Filters, new_seed, pull
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import parse_params


class Command(HoshinaCommand):
    help = "Rank the unlabeled images with a queue (Suspects: the labeled ones) and list the first of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=sorted(STRATEGIES), help="name of the queue")
        parser.add_argument("-n", type=int, default=20, metavar="N", help="number of images (default 20)")
        parser.add_argument("--seed", type=int, help="repeat a pull: same seed, same labels, same ranking")
        parser.add_argument(
            "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the queue"
        )
        parser.add_argument(
            "--filter", action="append", default=[], metavar="FIELD=VALUE",
            help="only images with this value of a field: a range like 2..5, a text, or unknown; can be repeated",
        )  # fmt: skip
        parser.add_argument("--path", default="", metavar="TEXT", help="only images whose path contains this text")
        parser.add_argument("--flagged", action="store_true", help="only flagged images")
        parser.add_argument("--tag", default="", metavar="TAG", help="only images with this tag")
        parser.add_argument("--noted", action="store_true", help="only images with a note")
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["n"] < 1:
            raise CommandError("-n has to be at least 1.", returncode=2)
        dataset = pick_dataset(options["dataset"])
        strategy = STRATEGIES[options["name"]]
        texts = dict(_pair("--param", text) for text in options["param"])
        names = [field.name for field in fields(strategy.params)]
        if unknown := sorted(texts.keys() - set(names)):
            takes = f"It takes {', '.join(names)}." if names else "It takes none."
            raise Failure(f"{strategy.title} has no parameter {unknown[0]!r}.", takes, returncode=2)
        seed = new_seed() if options["seed"] is None else options["seed"]
        state = State.LABELLED if strategy.needs_held_out else State.UNLABELLED
        filters = Filters(state, fields=_conditions(options["filter"]), path=options["path"], notes=_notes(options))
        params = parse_params(strategy, texts)
        comparison = comparison_for(dataset, strategy.name, asdict(params))
        if comparison is not None:
            run_command_job(self, "oddness", dataset_id=dataset.pk, params=comparison, as_json=options["json"])
        # As many ranks as a page stores: some draws depend on their number.
        k = options["n"] if strategy.is_sweep else max(options["n"], strategy.kept)
        round_ = pull(dataset, strategy, params, filters, seed=seed, k=k)
        tiles = deal(round_, 0, options["n"], holder="", is_continued=False).tiles
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
        result: dict[str, Any] = {"round": round_.pk, "queue": strategy.name, "seed": seed, "items": items}
        lines = [f"{strategy.title}: {strategy.help} (round {round_.pk}, seed {seed})"]
        lines += [f"{tile.rank + 1:>6}  {tile.shown.score:.4f}  {tile.item.path}" for tile in tiles]
        if not tiles:
            empty = nothing_left(dataset, round_)
            result["note"] = f"{empty.title}. {empty.text}"
            lines.append(result["note"])
        self.print_result(result, lines, as_json=options["json"])


def _conditions(texts: list[str]) -> tuple[Condition, ...]:
    query = QueryDict(mutable=True)
    for text in texts:
        name, value = _pair("--filter", text)
        query.appendlist(PREFIX + name, value)
    return conditions_from(query)


def _notes(options: dict[str, Any]) -> NoteFilter:
    texts = {name: "1" if options[name] is True else options[name] or "" for name in ("flagged", "tag", "noted")}
    return note_filter_from(texts)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise CommandError(f"{option} takes NAME=VALUE, not {text!r}.", returncode=2)
    return name, value
