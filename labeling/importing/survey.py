"""Compare the decisions of a file with those of the dataset, without saving anything."""

from __future__ import annotations

from collections.abc import Mapping

from labeling.importing.plan import NO_LABEL, Plan
from labeling.importing.report import Replaced, Report
from labeling.models import Annotation, Dataset, Item, LabelClass, State
from labeling.tables.item_lookup import IN_BATCH
from labeling.tables.report import LISTED

# state, label_id, decision_id
_Current = tuple[int, int | None, int | None]


def survey(
    dataset: Dataset, plan: Plan, label_ids: Mapping[int, int], names: Mapping[int, str], report: Report
) -> None:
    """Count the decisions that are new, equal to those of the dataset, or different from them.

    ``label_ids`` has the class of a label by its index; classes that do not exist yet have negative ids, and ``names``
    has the names of all of them.
    """
    names = {label.pk: label.name for label in LabelClass.objects.filter(dataset=dataset)} | dict(names)
    for start in range(0, len(plan.items), IN_BATCH):
        places = range(start, min(start + IN_BATCH, len(plan.items)))
        ids = [plan.items[place] for place in places]
        items = Item.objects.filter(pk__in=ids)  # with the dataset, SQLite would read all of its items each time
        current = {pk: (state, label, made) for pk, state, label, made in items.values_list(
            "pk", "state", "label_id", "decision_id")}  # fmt: skip
        _compare(plan, places, current, label_ids, names, report)


def _compare(
    plan: Plan,
    places: range,
    current: Mapping[int, _Current],
    label_ids: Mapping[int, int],
    names: Mapping[int, str],
    report: Report,
) -> None:
    replaced: list[tuple[int, str, str, int | None]] = []
    for place in places:
        decision = plan.decision(place, label_ids)
        before = current.get(plan.items[place])
        if decision is None or before is None:
            continue
        state, label_id, decision_id = before
        if (state, label_id) == (decision.state, decision.label_id):
            report.unchanged += 1
            continue
        report.applied += 1
        if state == State.UNLABELLED:
            report.n_new += 1
        else:
            after = _name(decision.state, decision.label_id, names)
            replaced.append((decision.item_id, _name(state, label_id, names), after, decision_id))
        if decision.label_id is not None and decision.label_id < 0:
            name = names[decision.label_id]
            report.new_classes[name] = report.new_classes.get(name, 0) + 1
    if replaced:
        _add_replaced(replaced, report)


def _add_replaced(replaced: list[tuple[int, str, str, int | None]], report: Report) -> None:
    made = Annotation.objects.filter(pk__in=[decision_id for *_, decision_id in replaced if decision_id])
    by = dict(made.values_list("pk", "annotator__username"))
    paths: dict[int, str] = {}
    if len(report.replaced.examples) < LISTED:
        paths = dict(Item.objects.filter(pk__in=[item_id for item_id, *_ in replaced]).values_list("pk", "path"))
    for item_id, before, after, decision_id in replaced:
        who = by.get(decision_id or 0) or ""
        report.replaced.by[who] = report.replaced.by.get(who, 0) + 1
        if len(report.replaced.examples) < LISTED:
            report.replaced.examples.append(Replaced(paths[item_id], before, after, who))


def _name(state: int, label_id: int | None, names: Mapping[int, str]) -> str:
    return State(state).display_name if label_id is None else names.get(label_id, "")


def count_unknown(plan: Plan, label_ids: Mapping[int, int], report: Report) -> None:
    """Report the lines whose class does not exist."""
    for number in plan.label_of:
        if number != NO_LABEL and number not in label_ids:
            report.unknown_classes.add(plan.labels[number])
