"""``hoshina quick_train``: train a network on the labelled images, in the foreground."""

from __future__ import annotations

import json
from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import fields
from typing import Any

from django.core.management.base import CommandError

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.quick.data import facts_of, usual_options
from modeling.quick.options import AUGMENTATIONS, BACKBONES, OptionError, QuickOptions, problems

_SAID = {
    "flip": "mirror half of the images",
    "rotate": "turn images a little",
    "zoom": "make images a little larger or smaller",
    "brightness": "make images a little brighter or darker",
}


class Command(HoshinaCommand):
    help = (
        "Train a network on the labelled images, calibrate it, and predict every image. "
        "What is not said is as in the dataset's last quick training, or as suits its images."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)
        parser.add_argument("--backbone", choices=sorted(BACKBONES), help="the network")
        parser.add_argument("--weights", choices=["imagenet", "random"], help="what the network begins with")
        parser.add_argument("--epochs", type=int, metavar="N", help="how often each image is seen")
        parser.add_argument("--batch-size", type=int, metavar="N", help="how many images at once")
        parser.add_argument("--image-side", type=int, metavar="PIXELS", help="side of the square that the network sees")
        parser.add_argument(
            "--fine-tune", dest="is_fine_tuned", action=BooleanOptionalAction, default=None,
            help="the network itself learns, not only the classifier on top",
        )  # fmt: skip
        for name in AUGMENTATIONS:
            parser.add_argument(f"--{name}", action=BooleanOptionalAction, default=None, help=_SAID[name])
        parser.add_argument(
            "--early-stopping", type=int, metavar="EPOCHS", help="end after so many epochs without progress; 0: never"
        )
        parser.add_argument("--class-weights", choices=["equal", "balanced"], help="balanced: every class counts alike")
        parser.add_argument("--validation-share", type=float, metavar="SHARE", help="share of the labels held out")
        parser.add_argument("--seed", type=int, help="decides split, order and augmentation")

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        names = [field.name for field in fields(QuickOptions)]
        said = {name: options[name] for name in names if options[name] is not None}
        try:
            wanted = QuickOptions.from_params({**usual_options(dataset).as_params(), **said})
        except OptionError as error:
            raise CommandError(f"--{error.field.replace('_', '-')}: {error.words}", returncode=2) from error
        impossible = problems(wanted, facts_of(dataset))
        if impossible:
            raise CommandError(" ".join(why for _, why in impossible))
        job = run_command_job(self, "quick_train", dataset.pk, wanted.as_params(), as_json=options["json"])
        if options["json"]:
            self.stdout.write(json.dumps(job.result, ensure_ascii=False))
        else:
            self.stdout.write("\n".join(words(job.result)))


def words(told: dict[str, Any]) -> list[str]:
    """A finished training for people: what ``--json`` prints, in lines."""
    low, high = told["accuracy_interval"]
    classes = counted(len(told["classes"]), "class", "classes")
    lines = [
        f"Model {told['model_version']}: {counted(told['labels'], 'label')} of {classes}, "
        f"best epoch {told['best_epoch']} of {len(told['epochs'])}, in {told['seconds']} s.",
        f"Held-out accuracy on {counted(told['n_test'], 'test image')} {told['accuracy']:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}).",
    ]
    if told["calibrated"]:
        lines.append(
            f"Calibration error {told['ece_before']:.3f} before, {told['ece_after']:.3f} after "
            f"temperature {told['temperature']:.2f}."
        )
    else:
        lines.append(told["note"])
    beside = told["assistive"]
    if beside:
        lines.append(
            f"On {beside['n']:,} of the same images: {beside['quick_accuracy']:.1%}, "
            f"and {beside['accuracy']:.1%} by model {beside['version']}."
        )
    return [*lines, *told["notes"], f"Files: {', '.join(told['files'])}, in {told['folder']}"]
