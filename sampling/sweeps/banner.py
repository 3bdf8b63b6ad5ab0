"""Describe a sweep: the banner above its page, its part of the queue's form, and the text of an empty page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from django.http import QueryDict

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.models import Dataset, LabelClass
from labeling.templatetags.item_display import percent, share
from sampling.maps.region_filter import region_from
from sampling.models import Round
from sampling.queues.field_filter import conditions_from
from sampling.queues.note_filter import note_filter_from
from sampling.queues.pull import Filters, gather
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import parse_params
from sampling.sweeps.checks import Cost, Measured, cost_of, measured
from sampling.sweeps.queues import SweepParams, prospects

# The same as in sampling.algorithms.groups, which the web process does not import.
AGREEMENT = 0.95
SHARES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True)
class ClassBar:
    """The banner of a class sweep. ``n_wrong`` is the expected number of images of other classes on the page."""

    label: LabelClass
    n: int
    n_wrong: int
    at_most: float
    measured: Measured
    kind: str = "class"

    @property
    def is_broken(self) -> bool:
        """Return whether the checks show more wrong labels than promised."""
        return self.measured.n > 0 and self.measured.low > self.at_most


@dataclass(frozen=True)
class CheckBar:
    """The banner of a page of checks of one class, which says nothing about how many are wrong."""

    label: LabelClass
    n: int
    measured: Measured
    kind: str = "class"
    is_check: bool = True


@dataclass(frozen=True)
class GroupBar:
    """The banner of a group sweep.

    ``agreement`` is the share of labeled pairs this similar that are of one class, with its interval and the number
    of pairs; None without such pairs. ``is_known``: the share is known to be at least 95 %.
    """

    n: int
    agreement: float | None = None
    low: float = 0.0
    high: float = 1.0
    n_pairs: int = 0
    is_half: bool = False
    is_known: bool = False
    kind: str = "group"

    @property
    def warning(self) -> str:
        """Return the reason not to label the whole group with one key, or "" if there is none."""
        if self.is_known:
            return ""
        if self.agreement is None:
            return "No labeled pairs are this similar, so it is not known whether such images share a class."
        if self.agreement >= AGREEMENT:
            return f"Too few labeled pairs to rely on: {self.measured} share a class."
        return f"Only {self.measured} share a class."

    @property
    def measured(self) -> str:
        """Return the agreement with its interval as text."""
        if self.agreement is None:
            return ""
        digits = 1 if self.agreement >= 0.9 else 0
        mean, low, high = (f"{100 * value:.{digits}f}" for value in (self.agreement, self.low, self.high))
        return f"{mean} % (95 % interval {low} to {high} %) of {counted(self.n_pairs, 'labeled pair')} this similar"


@dataclass(frozen=True)
class SuspectsBar:
    """Describe the banner of labels that the model disagrees with, which are kept or changed one by one."""

    n: int
    kind: str = "suspects"


Bar = ClassBar | CheckBar | GroupBar | SuspectsBar


def bar_of(dataset: Dataset, round_: Round, n: int) -> Bar | None:
    """Return the banner above a page of ``n`` tiles, or None for a page without one."""
    facts = round_.params.get("facts", {})
    if round_.queue == "suspects":
        return SuspectsBar(n)
    if round_.queue == "groups":
        return msgspec.convert(facts | {"n": n}, GroupBar)
    if "of" not in facts:
        return None
    label = LabelClass.objects.get(pk=facts["of"])
    if facts.get("is_check"):
        return CheckBar(label, n, measured(dataset))
    return ClassBar(label, n, round(facts["expected_wrong"]), round_.params["at_most"], measured(dataset))


def nothing_to_sweep(round_: Round) -> tuple[str, str]:
    """Return title and text for a sweep that has no page."""
    facts = round_.params.get("facts", {})
    if round_.queue == "groups":
        if facts.get("is_half"):
            return "No images left to split", "All images of this group have been labeled. Go to the next group."
        if not facts.get("n_candidates"):
            return (
                "No images to group",
                "No unlabeled image has an embedding. Choose Auto, or wait for the embeddings (see Jobs).",
            )
        if facts.get("is_strict"):
            return _no_known_group(facts)
        return (
            "No images are that similar",
            f"No two of {counted(facts['n_candidates'], 'unlabeled image')} are this similar. "
            "Increase the distance, or choose Sweep or Auto.",
        )
    name = LabelClass.objects.get(pk=facts["of"]).name
    if not facts["n_predicted"]:
        return (
            f"No {name} left to sweep",
            f"No unlabeled image is predicted as {name}. Choose another class, or Auto.",
        )
    at_most = f"{100 * round_.params['at_most']:g} %"
    surest = percent(facts["surest"])
    return (
        f"Too uncertain to sweep at {at_most}",
        f"{counted(facts['n_predicted'], 'unlabeled image')} predicted as {name}, the most confident at {surest}, "
        f"are too uncertain to sweep at {at_most}. Label some in Uncertain first, allow more wrong labels, or choose "
        "another class.",
    )


def _no_known_group(facts: dict[str, Any]) -> tuple[str, str]:
    """Return title and text if no group is left, or none exists yet, that is known to be of one class."""
    if facts["radius"]:
        return (
            "No group left that is similar enough",
            "No group is left within the distance at which labeled pairs are known to share a class. Show looser "
            "groups, or choose Sweep or Auto.",
        )
    return (
        "Not enough labels for groups yet",
        "Groups appear once at least 95 % of labeled pairs this similar are known to share a class. Label more images "
        "in other queues first, or show looser groups.",
    )


def class_form(dataset: Dataset, query: QueryDict) -> dict[str, Any]:
    """Return the choices of a class sweep: the classes with what a sweep of each would yield, and the error shares."""
    strategy = STRATEGIES["sweep"]
    try:
        params = parse_params(strategy, query.dict())
        filters = Filters(region=region_from(query), fields=conditions_from(query), notes=note_filter_from(query))
        classes = prospects(gather(dataset, strategy, filters, seed=0), params.at_most)
    except Refusal as problem:
        return {"problem": str(problem), "params": SweepParams(), "classes": [], "shares": _shares(0.01), "cost": ""}
    names = dict(LabelClass.objects.filter(dataset=dataset).values_list("pk", "name"))
    choices = [
        asdict(prospect) | {"name": names[prospect.class_id], "is_chosen": prospect.class_id == params.of}
        for prospect in classes
        if prospect.class_id in names
    ]
    cost = cost_sentence(cost_of(dataset))
    return {"problem": "", "params": params, "classes": choices, "shares": _shares(params.at_most), "cost": cost}


def cost_sentence(cost: Cost) -> str:
    """Return what the last pages of class sweeps cost and the least that they can cost, or "" without any."""
    if not cost.labels:
        return ""
    return (
        f"Your last pages: {cost.per_label:.2f} actions per label (one by one: 1). You marked {share(cost.bound)} of "
        "their images as wrong, each by a click."
    )


def _shares(chosen: float) -> list[dict[str, Any]]:
    return [
        {"value": f"{value:g}", "text": f"{100 * value:g} %", "is_chosen": value == chosen}
        for value in sorted({*SHARES, chosen})
    ]
