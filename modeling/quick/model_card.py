"""Write the model card of a quick training: training data, evaluation, usage and limitations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hoshina.core.plural import counted
from labeling.exporting.version import app_version
from labeling.models import LabelClass
from modeling.models import ModelVersion
from modeling.quick.checkpoints import Plan
from modeling.quick.data import STOPPING, TEST, TRAIN
from modeling.quick.options import AUGMENTATIONS, BACKBONES, QuickOptions
from modeling.quick.program import seen_as


def card(version: ModelVersion, plan: Plan, notes: Sequence[str]) -> str:
    """Return the model card in Markdown, about a page. Contains no names of people or folders."""
    options, n_test = plan.options, int((plan.parts == TEST).sum())
    names = dict(LabelClass.objects.filter(pk__in=version.class_ids).values_list("pk", "name"))
    lines = [
        f"# {version.dataset.name}: model {version.number}",
        "",
        f"An image classifier of {counted(len(version.class_ids), 'class', 'classes')}, made by HOSHINA "
        f"{app_version()} on {version.created_at:%Y-%m-%d}: {how(options)}.",
        "",
        "## Training data",
        "",
        "| class | training | validation | test |",
        "|---|---|---|---|",
        *(_counts(plan, column, names[class_id]) for column, class_id in enumerate(version.class_ids)),
        "",
        f"{_together(plan)} are always in the same set. The test set was used only for the final evaluation.",
        "",
        "## Evaluation",
        "",
        *_quality(version.metrics),
        "",
        f"Its probabilities are {version.calibration_note} (temperature {version.temperature:.3f}, applied in all "
        "files).",
        "",
        "## Usage",
        "",
        "`classifier.zip` is a program that classifies a folder of images. Unpack it anywhere, and read its README.md. "
        "It opens files as HOSHINA does.",
        "",
        f"All other files take pixels, {options.image_side} by {options.image_side}, and return a probability for "
        "each class of `classes.json`, in its order:",
        "",
        *seen_as(version.dataset, plan.network_input),
        "",
        "## Limitations",
        "",
        "- It always predicts one of its classes, even for an image of something else.",
        "- Its accuracy on images of another camera, time or place than its training images was not measured.",
        *([f"- {n_test} test images measure its accuracy only roughly: see the interval."] if n_test < 100 else []),
        *(f"- {note}" for note in notes),
        "",
        "## Options",
        "",
        *(f"- {name}: {value}" for name, value in asdict(options).items()),
        "",
    ]
    return "\n".join(lines)


def how(options: QuickOptions) -> str:
    """Describe the training briefly."""
    title = BACKBONES[options.backbone].title
    if options.weights == "random":
        description = f"{title}, trained from random initial weights"
    elif options.is_fine_tuned:
        description = f"{title}, fine-tuned from ImageNet's weights"
    else:
        description = f"a classifier on {title} with ImageNet's weights"
    chosen = [name for name in AUGMENTATIONS if getattr(options, name)]
    return f"{description}, augmented ({', '.join(chosen)})" if chosen else description


def _together(plan: Plan) -> str:
    if plan.together is None:
        return "Identical files"
    return f"Identical files, and images of one {plan.together['field']} ({plan.together['groups']} groups),"


def _counts(plan: Plan, column: int, name: str) -> str:
    parts = np.bincount(plan.parts[plan.y == column], minlength=3)
    return f"| {name.replace('|', '/')} | {parts[TRAIN]} | {parts[STOPPING]} | {parts[TEST]} |"


def _quality(metrics: dict[str, Any]) -> list[str]:
    low, high = metrics["accuracy_interval"]
    lines = [
        f"- Held-out accuracy on {counted(metrics['n_test'], 'test image')}: {metrics['accuracy']:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%})",
        f"- Log loss: {metrics['log_loss_after']:.3f} ({metrics['log_loss_before']:.3f} before calibration)",
        f"- Expected calibration error: {metrics['ece_after']:.3f} ({metrics['ece_before']:.3f} before)",
    ]
    beside = metrics["assistive"]
    if beside:
        lines.append(
            f"- On {beside['n']:,} of the same images, model {beside['version']}, trained on embeddings, "
            f"has {beside['accuracy']:.1%} and this one {beside['quick_accuracy']:.1%}."
        )
    return lines
