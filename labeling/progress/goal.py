"""Set the goal of a dataset, and measure how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from hoshina.core.plural import counted
from labeling.models import Dataset


@dataclass(frozen=True)
class Goal:
    """Hold a number to reach, and the number reached: labels, or images with a decision if it ``is_share``."""

    target: int
    reached: int
    text: str
    is_share: bool

    @property
    def left(self) -> int:
        return max(0, self.target - self.reached)


def goal_of(dataset: Dataset) -> Goal:
    """Return the goal that was set; without one, a decision for every image."""
    if dataset.goal_labels is not None:
        text = counted(dataset.goal_labels, "label")
        return Goal(dataset.goal_labels, dataset.n_labelled, text, is_share=False)
    percent = 100 if dataset.goal_percent is None else dataset.goal_percent
    target = ceil(dataset.n_items * percent / 100)
    text = f"{percent} % of the images" if percent < 100 else "every image"
    return Goal(target, dataset.n_decided, text, is_share=True)


def set_goal(dataset: Dataset, value: str, unit: str) -> None:
    """Set the goal: a whole number of ``labels``, or a ``percent`` of the images; "" removes it. Raises Refusal."""
    number = whole_number(value.strip(), 12)
    if unit not in ("labels", "percent"):
        raise Refusal("The unit must be labels or percent.", field="unit")
    if value.strip() and not number:
        raise Refusal("The goal must be a whole number above 0.", "Leave it empty for every image.", field="value")
    if unit == "percent" and number is not None and number > 100:
        raise Refusal("A share of the images is at most 100 %.", "Choose labels as the unit, or a smaller number.")
    dataset.goal_labels = number if unit == "labels" else None
    dataset.goal_percent = number if unit == "percent" else None
    Dataset.objects.filter(pk=dataset.pk).update(goal_labels=dataset.goal_labels, goal_percent=dataset.goal_percent)
