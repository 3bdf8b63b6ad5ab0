"""Recommend one thing to do next, from the state of the model, the audit, the forecast and the labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from labeling.decisions.pace import seconds_per_decision
from labeling.decisions.random_draws import random_draws
from labeling.models import Dataset, LabelClass
from modeling.assistive.policy import labels_to_go, policy_of
from modeling.models import ModelVersion
from sampling.accuracy.estimate import Outlook, audit_to_go, more_to_halve
from sampling.accuracy.stopping import Stopping, stopping
from sampling.models import AccuracyEstimate
from sampling.queues.pull import Filters, gather
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import NoParams
from sampling.sweeps.queues import SweepParams, prospects

# Suspects are worth a review from this number on, and from this share of the labels.
MIN_SUSPECTS, SUSPECT_SHARE = 5, 0.02
# Intervals of the audited accuracy wider than this are narrowed first.
WIDE = 0.10
# A sweep is worth it for this many images that are certain enough.
MIN_SWEEP = 20
# Suspects and sweeps are counted up to this many.
MOST = 1000


@dataclass(frozen=True)
class NextStep:
    """Recommend an action, its reason, and the button that does it; ``is_post``: the button sends a request."""

    title: str
    reason: str
    button: str
    url: str
    is_post: bool = False


@dataclass
class Situation:
    """Everything that the recommendation depends on; what takes longer is computed when a rule asks for it."""

    dataset: Dataset
    user_id: int | None
    # The result of modeling.assistive.views.state_of.
    state: dict[str, Any]
    estimates: list[AccuracyEstimate]
    outlook: Outlook

    @property
    def model(self) -> ModelVersion | None:
        model: ModelVersion | None = self.state["model"]
        return model

    @property
    def newest(self) -> AccuracyEstimate | None:
        return self.estimates[-1] if self.estimates else None

    @cached_property
    def stopping(self) -> Stopping | None:
        return stopping(self.estimates, self.outlook)

    @cached_property
    def n_suspects(self) -> int:
        """Return the number of labels that the model disagrees with and that nobody has checked since."""
        strategy = STRATEGIES["suspects"]
        try:
            inputs = gather(self.dataset, strategy, Filters(state=None), seed=0)
            return len(strategy.rank(inputs, NoParams(), MOST).rows)
        except Refusal:  # nothing was held out, or these predictions are no longer stored
            return 0

    @cached_property
    def sweepable(self) -> tuple[str, int, int] | None:
        """Return name, id and number of images of the class with the most images certain enough for a sweep."""
        try:
            found = prospects(gather(self.dataset, STRATEGIES["sweep"], Filters(), seed=0), SweepParams().at_most)
        except Refusal:
            return None
        best = max(found, key=lambda prospect: prospect.n_sure, default=None)
        label = LabelClass.objects.active().filter(pk=best.class_id).first() if best else None
        return (label.name, label.pk, best.n_sure) if best and label else None

    def queue(self, name: str, **params: object) -> str:
        """Return the URL of the workbench with a queue."""
        return f"{reverse('workbench', args=[self.dataset.slug])}?{urlencode({'queue': name, **params})}"

    def retrain(self, title: str, reason: str, button: str = "Retrain") -> NextStep:
        return NextStep(title, reason, button, reverse("modeling:retrain", args=[self.dataset.slug]), is_post=True)


def next_step(situation: Situation) -> NextStep:
    """Return the recommendation of the first rule that applies."""
    return next(step for rule in RULES if (step := rule(situation)) is not None)


def _no_images(at: Situation) -> NextStep | None:
    if at.dataset.n_items:
        return None
    return NextStep(
        "Add images",
        "The dataset has no images yet. Add some to its folder and rescan it.",
        "Datasets",
        reverse("labeling:datasets"),
    )


def _first_model(at: Situation) -> NextStep | None:
    if at.model is not None or at.state["retraining"]:
        return None
    n = at.state["n_classes_labelled"]
    if n < 2:
        reason = "The first model is trained once two classes have labels."
        return NextStep("Label images of two classes", reason, "Label images", at.queue("auto"))
    if at.state["is_embedding_first"]:
        reason = "Embeddings are being computed. The first model is trained as soon as they are ready."
        return NextStep("Keep labeling", reason, "Label images", at.queue("auto"))
    return at.retrain("Train the first model", f"{counted(n, 'class', 'classes')} have labels.", "Train")


def _training(at: Situation) -> NextStep | None:
    if not at.state["retraining"]:
        return None
    return NextStep("Keep labeling", "A model is being trained. Reload the page when it is done.", "Label images",
                    at.queue("auto"))  # fmt: skip


def _outdated(at: Situation) -> NextStep | None:
    assert at.model is not None
    n, policy = at.state["n_newer"], policy_of(at.dataset)
    is_due = not policy.is_automatic or at.model.is_chosen or labels_to_go(at.dataset, policy, at.model) == 0
    if not n or not is_due:
        return None
    return at.retrain("Retrain the model", f"Model {at.model.number} does not know {counted(n, 'new label')} yet.")


def _audit(at: Situation) -> NextStep | None:
    missing = audit_to_go(at.dataset)
    if not missing:
        if at.newest is not None:
            return None
        n = len(random_draws(at.dataset.pk).labeled)
        return at.retrain("Retrain the model", f"The audited accuracy is then known from {counted(n, 'random image')}.")
    if not at.dataset.n_left:
        return None
    more = counted(min(missing, at.dataset.n_left), "random image")
    reason = (
        "A random sample tells how good the model is on the whole dataset. The labels so far were selected, so the "
        "accuracy on other images may differ."
    )
    return NextStep("Audit the model", reason, f"Label {more}", at.queue("audit"))


def _suspects(at: Situation) -> NextStep | None:
    if at.n_suspects < max(MIN_SUSPECTS, SUSPECT_SHARE * at.dataset.n_labelled):
        return None
    n = counted(at.n_suspects, "label")
    reason = f"The model disagrees with {n} when it was not trained on them. Wrong labels among them cost accuracy."
    return NextStep("Review suspect labels", reason, f"Review {n}", at.queue("suspects"))


def _finished(at: Situation) -> NextStep | None:
    if at.dataset.n_left:
        return None
    reason = "Every image has a decision."
    if at.dataset.n_unsure:
        url = at.queue("all", state="unsure")
        return NextStep("Decide the unsure images", reason, f"Show {counted(at.dataset.n_unsure, 'unsure image')}", url)
    return _export(at, reason)


def _export(at: Situation, reason: str) -> NextStep:
    return NextStep("Export the dataset", reason, "Export", reverse("labeling:export", args=[at.dataset.slug]))


def _enough(at: Situation) -> NextStep | None:
    if at.stopping is None or at.stopping.pays:
        return None
    return _sweep(at, at.stopping.note) or _export(at, at.stopping.note)


def _wide(at: Situation) -> NextStep | None:
    if at.newest is None or at.newest.high - at.newest.low <= WIDE:
        return None
    more = counted(min(more_to_halve(at.newest), at.dataset.n_left), "more random image")
    reason = "The interval of the audited accuracy is wide. This many labels make it half as wide."
    return NextStep("Measure the accuracy more precisely", reason, f"Label {more}", at.queue("audit"))


def _gain(at: Situation) -> NextStep | None:
    if at.stopping is None or at.stopping.gain.value < 0.0005:
        return None
    reason = at.stopping.sentence(seconds_per_decision(at.dataset, at.user_id))
    n = min(at.stopping.gain.labels, at.dataset.n_left)
    return NextStep("Label more images", reason, f"Label {counted(n, 'more image')}", at.queue("auto"))


def _sweep(at: Situation, note: str = "") -> NextStep | None:
    if at.sweepable is None or at.sweepable[2] < MIN_SWEEP:
        return None
    name, class_id, n = at.sweepable
    images = f"{n:,} unlabeled images" if n < at.dataset.n_left else "The unlabeled images"
    reason = f"{note} {images} are almost certainly {name}. Accept them a page at a time.".strip()
    return NextStep(f"Sweep {name}", reason, f"Sweep {name}", at.queue("sweep", of=class_id))


def _more(at: Situation) -> NextStep | None:
    n = labels_to_go(at.dataset, policy_of(at.dataset), at.model)
    reason = "More labels let the model tell how fast it improves."
    if n:
        reason = f"The model is retrained after {counted(n, 'more label')}. {reason}"
    return NextStep("Label more images", reason, "Label images", at.queue("auto"))


RULES = (
    _no_images,
    _first_model,
    _training,
    _outdated,
    _audit,
    _suspects,
    _finished,
    _enough,
    _wide,
    _gain,
    _sweep,
    _more,
)
