"""Draw hidden checks of sweeps, settle them by later decisions, and measure the error of sweeps.

A check is an image of an accepted page that is shown again without its label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet, Sum

from labeling.decisions.save import surviving
from labeling.models import Annotation, Dataset, Item, LabelClass, State
from sampling.algorithms.estimates import share_of_sums
from sampling.algorithms.risk import Carryover, Risk, estimate_doubt, miss_rate, with_overlooked
from sampling.models import Check, Round
from sampling.queues.strategy import Rows

# Checks and pages that an undo can still reach: the browser keeps a dozen pages.
RECENT_CHECKS, RECENT_PAGES = 60, 12
# An action that gave the swept class to this share of a page is one that accepted it, and not a single label.
ACCEPTS = 1 / 3
_DECIDED = (Check.Outcome.RIGHT, Check.Outcome.WRONG)
_OPEN = (Check.Outcome.WAITING, Check.Outcome.DISPUTED)


@dataclass(frozen=True)
class Measured:
    """The result of the checks: number decided, number wrong (confirmed by a second look), share and 95 % interval."""

    n: int
    n_wrong: int
    n_waiting: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """Hold what the last accepted pages cost: labels, actions (clicks and key presses), and images of other classes."""

    labels: int = 0
    actions: int = 0
    marks: int = 0

    @property
    def per_label(self) -> float:
        """Return the number of actions per label."""
        return self.actions / self.labels

    @property
    def bound(self) -> float:
        """Return the model's error on these pages: each such image takes a click, so a sweep can't cost less."""
        return self.marks / self.labels


@dataclass(frozen=True)
class _Outcome:
    """The outcome of a page: the action that accepted it, if any, and the images that got its class.

    ``n_marked`` images got another decision, by ``n_mark_keys`` key presses.
    """

    accept_id: int | None
    n_accepted: int
    n_marked: int
    n_mark_keys: int


def deal_checks(round_: Round, class_id: int, rows: list[int], probabilities: list[float]) -> None:
    """Save the images of these rows as checks of the sweep page ``round_``."""
    ids = dict(Item.objects.filter(dataset=round_.dataset_id, row__in=rows).values_list("row", "pk"))
    shared = {"dataset_id": round_.dataset_id, "round": round_, "label_id": class_id}
    shared |= {"labels": round_.n_ranked / len(rows), "promised": round_.params["facts"]["promised_error"]}
    Check.objects.bulk_create(
        Check(item_id=ids[row], probability=probability, **shared)
        for row, probability in zip(rows, probabilities, strict=True)
        if row in ids
    )


def settle(dataset_id: int) -> None:
    """Update the outcomes of recent checks, which an undo may change, and of waiting ones decided since.

    Called before outcomes are read and not when decisions are saved: saving a label would take a third longer. Takes at
    most four queries for any number of checks, and one without checks.
    """
    checks = Check.objects.filter(dataset=dataset_id).select_related("item", "label__merged_into")
    checks = checks.annotate(undone_by=F("accept__undone_by"))
    newest = list(checks.order_by("-pk")[:RECENT_CHECKS])
    if not newest:
        return
    waited = Q(outcome=Check.Outcome.WAITING) & ~Q(item__state=State.UNLABELLED)
    disputed = Q(outcome=Check.Outcome.DISPUTED) & ~Q(item__decision_id=F("disputed_by"))
    # A page of checks may hold older ones than the newest, and be undone.
    undone = Q(outcome__in=_DECIDED, item__state=State.UNLABELLED)
    undone |= Q(outcome=Check.Outcome.WRONG, item__decision_id__lte=F("disputed_by"))
    older = list(checks.filter(waited | disputed | undone).exclude(pk__in=[check.pk for check in newest]))
    pages = _recent_pages(dataset_id, newest)
    decisions = [check.item.decision_id for check in newest + older if check.item.decision_id]
    shown_in = dict(Annotation.objects.filter(pk__in=decisions).values_list("pk", "round_id"))
    changed = []
    for check in newest + older:
        before = (check.accept_id, check.outcome, check.disputed_by)
        if check.accept_id is None or check.undone_by is not None:
            page = pages.get(check.round_id)
            check.accept_id = page.accept_id if page else None
        check.outcome = _outcome(check, shown_in.get(check.item.decision_id or 0))
        if check.outcome == Check.Outcome.DISPUTED:
            check.disputed_by = check.item.decision_id
        elif check.outcome != Check.Outcome.WRONG:
            check.disputed_by = None
        if (check.accept_id, check.outcome, check.disputed_by) != before:
            changed.append(check)
    Check.objects.bulk_update(changed, ["accept", "outcome", "disputed_by"])


def _outcome(check: Check, shown_in: int | None) -> Check.Outcome:
    if check.accept_id is None:
        return Check.Outcome.DEALT
    item, swept = check.item, surviving(check.label)
    if item.state == State.UNLABELLED:
        return Check.Outcome.WAITING
    if item.state != State.LABELLED or swept is None:
        return Check.Outcome.VOID
    is_swept = item.label_id == swept.pk
    if shown_in == check.round_id:
        return Check.Outcome.VOID if is_swept else Check.Outcome.CAUGHT
    if is_swept:
        return Check.Outcome.RIGHT
    is_first = check.disputed_by is None or check.disputed_by >= (item.decision_id or 0)
    return Check.Outcome.DISPUTED if is_first else Check.Outcome.WRONG


def _recent_pages(dataset_id: int, newest: Iterable[Check]) -> dict[int, _Outcome]:
    """Return the outcomes of the pages of the newest checks."""
    swept = {check.round_id: check.label_id for check in newest}
    recent = sorted(swept, reverse=True)[:RECENT_PAGES]
    rounds = {round_.pk: round_ for round_ in Round.objects.filter(pk__in=recent)}
    rows = np.concatenate([np.frombuffer(round_.rows, dtype="<i8") for round_ in rounds.values()])
    held = Annotation.objects.filter(item__dataset=dataset_id, item__row__in=rows.tolist(), pk=F("item__decision_id"))
    decisions = held.filter(round_id__in=rounds).exclude(state=State.UNLABELLED)
    accepted: dict[int, Counter[int]] = {pk: Counter() for pk in rounds}
    marked: dict[int, Counter[int]] = {pk: Counter() for pk in rounds}
    for round_id, label_id, action_id in decisions.values_list("round_id", "label_id", "action_id"):
        assert round_id is not None
        if label_id == swept[round_id]:
            accepted[round_id][action_id] += 1
        else:
            marked[round_id][action_id] += 1
    return {
        pk: _Outcome(_accept(accepted[pk], round_.n_ranked), accepted[pk].total(), marked[pk].total(), len(marked[pk]))
        for pk, round_ in rounds.items()
    }


def _accept(actions: Counter[int], n: int) -> int | None:
    action_id, most = actions.most_common(1)[0] if actions else (None, 0)
    return action_id if most >= ACCEPTS * n else None


def waiting_rows(dataset: Dataset) -> Rows:
    """Return the rows of the open checks, those that have waited longest first."""
    return waiting_checks(dataset)[0]


def waiting_checks(dataset: Dataset) -> tuple[Rows, Rows]:
    """Return the rows of the open checks, longest waiting first, and the ids of the classes they were accepted as.

    The id is 0 for a check to decide one by one: it was marked before, or its class is no longer in use.
    """
    waiting = Check.objects.filter(dataset=dataset, outcome__in=_OPEN).order_by("pk")
    columns = list(waiting.values_list("item__row", "outcome", "label_id"))
    in_use = set(LabelClass.objects.active().filter(dataset=dataset).values_list("pk", flat=True)) if columns else set()
    classes = [
        label_id if outcome == Check.Outcome.WAITING and label_id in in_use else 0 for _, outcome, label_id in columns
    ]
    return np.array([row for row, _, _ in columns], np.int64), np.array(classes, np.int64)


def n_waiting(dataset: Dataset) -> int:
    """Settle the checks and return how many are open."""
    settle(dataset.pk)
    return Check.objects.filter(dataset=dataset, outcome__in=_OPEN).count()


def waiting_among(dataset_id: int, rows: Collection[int]) -> set[int]:
    """Return those of ``rows`` with an open check, whose suggestion must stay hidden."""
    waiting = Check.objects.filter(dataset=dataset_id, outcome__in=_OPEN, item__row__in=rows)
    return set(waiting.values_list("item__row", flat=True))


def has_open_check(item: str) -> Exists:
    """Return the condition of :func:`waiting_among` for a query whose field ``item`` leads to the item."""
    return Exists(Check.objects.filter(item=OuterRef(item), outcome__in=_OPEN))


def risk_of(dataset: Dataset) -> Risk:
    """Estimate from the settled checks and the last pages how often the person misses errors and the model errs."""
    checks = Check.objects.filter(dataset=dataset)
    newest = list(checks.order_by("-pk")[:RECENT_CHECKS])
    if not newest:
        return Risk()
    pages = {pk: page for pk, page in _recent_pages(dataset.pk, newest).items() if page.accept_id is not None}
    facts = dict(Round.objects.filter(pk__in=pages).values_list("pk", "params__facts__model_wrong"))
    n_marked = sum(page.n_marked for page in pages.values())
    doubt = estimate_doubt(n_marked, sum(facts.values()))
    return Risk(miss_rate(*_caught_and_wrong(checks)), doubt, checks.filter(outcome__in=_DECIDED).count())


def _caught_and_wrong(checks: QuerySet[Check]) -> tuple[int, list[float]]:
    """Return how many checks were marked on their page, and the probabilities of those found wrong later."""
    wrong = checks.filter(outcome=Check.Outcome.WRONG).values_list("probability", flat=True)
    return checks.filter(outcome=Check.Outcome.CAUGHT).count(), list(wrong)


def cost_of(dataset: Dataset) -> Cost:
    """Return what the last dozen accepted pages of class sweeps cost, without their checks, which follow later.

    A page takes a key press, a click for each marked image, and the key presses that gave these their classes.
    """
    newest = list(Check.objects.filter(dataset=dataset).order_by("-pk")[:RECENT_CHECKS])
    recent = _recent_pages(dataset.pk, newest).values() if newest else ()
    pages = [page for page in recent if page.accept_id is not None]
    marks = sum(page.n_marked for page in pages)
    actions = len(pages) + marks + sum(page.n_mark_keys for page in pages)
    return Cost(marks + sum(page.n_accepted for page in pages), actions, marks)


def carryover_of(dataset: Dataset) -> Carryover:
    """Return the number of labels of all accepted pages, and the number of wrong ones promised for them."""
    accepted = Check.objects.filter(dataset=dataset).exclude(outcome=Check.Outcome.DEALT)
    totals = accepted.aggregate(n=Sum("labels"), wrong=Sum(F("labels") * F("promised")))
    return Carryover(totals["n"] or 0.0, totals["wrong"] or 0.0)


def measured(dataset: Dataset) -> Measured:
    """Return the share of wrong labels left by sweeps, from decided checks weighted by the labels each stands for.

    It includes an estimate of the wrong labels that the checks overlooked.
    """
    checks = Check.objects.filter(dataset=dataset)
    decided, wrong = Q(outcome__in=_DECIDED), Q(outcome=Check.Outcome.WRONG)
    totals = checks.aggregate(
        n=Count("pk", filter=decided),
        n_wrong=Count("pk", filter=wrong),
        n_open=Count("pk", filter=Q(outcome__in=_OPEN)),
        total=Sum("labels", filter=decided, default=0.0),
        hits=Sum("labels", filter=wrong, default=0.0),
        squared_hits=Sum(F("labels") * F("labels"), filter=wrong, default=0.0),
        largest=Max("labels", filter=decided, default=0.0),
    )
    found = share_of_sums(totals["n"], totals["total"], totals["hits"], totals["squared_hits"], totals["largest"])
    share = with_overlooked(found, *_caught_and_wrong(checks))
    return Measured(totals["n"], totals["n_wrong"], totals["n_open"], share.value, share.low, share.high)
