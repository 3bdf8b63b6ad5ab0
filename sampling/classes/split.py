"""Split a class: propose parts, show what a split changes, relabel, learn from the review, and take it back.

The parts are proposed and learned by workers, which load scikit-learn and the embeddings; pages read the stored arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from django.contrib.auth.models import User
from django.db.models import F, Max, QuerySet
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.jobs.runner import Run
from labeling.decisions.classes import add, delete, same_word, tidy_name
from labeling.decisions.relabel import SPLIT, relabel, take_back
from labeling.decisions.save import surviving
from labeling.models import Action, Annotation, Item, LabelClass
from sampling.algorithms.parts import Parts, merged, open_items
from sampling.models import ClassSplit

Rows = NDArray[np.int64]
# Fewer labels are quicker to change one by one.
MIN_LABELS = 10
# Shares of the labels to look at one by one that the page offers; the second is the default.
SHARES = (0.1, 0.2, 0.4, 0.7)


# -- The stored arrays -----------------------------------------------------------------------------
def rows_of(split: ClassSplit) -> Rows:
    """Return the rows (n,) of the items of a split, ascending."""
    return np.frombuffer(split.rows, "<i8")


def proposal_of(split: ClassSplit) -> Parts:
    """Return the parts as they were proposed."""
    return Parts(
        np.frombuffer(split.proposed, "<f4").reshape(-1, split.n_parts), np.frombuffer(split.typicality, "<f4")
    )


def classes_of(split: ClassSplit) -> list[LabelClass]:
    """Return the classes that the parts were given, each once. Raises Refusal if one was deleted."""
    return list(dict.fromkeys(_class_of_each_part(split)))


def _class_of_each_part(split: ClassSplit) -> list[LabelClass]:
    found = LabelClass.objects.filter(pk__in=split.class_ids).select_related("merged_into").in_bulk()
    current = [label for pk in split.class_ids if (label := surviving(found.get(pk))) is not None]
    if len(current) < len(split.class_ids):
        raise Refusal("A class of this split was deleted in the meantime.", "Close the split, and propose a new one.")
    return current


def named_parts(split: ClassSplit) -> Parts:
    """Return the proposal with the parts of one class joined, in the order of `classes_of`."""
    current = _class_of_each_part(split)
    order = list(dict.fromkeys(current))
    return merged(proposal_of(split), [order.index(label) for label in current])


def current_parts(split: ClassSplit) -> Parts:
    """Return the parts as learned from the decisions so far, or as they were named."""
    named = named_parts(split)
    if len(split.learned) != named.memberships.nbytes:
        return named
    return Parts(np.frombuffer(split.learned, "<f4").reshape(named.memberships.shape), named.typicality)


# -- What became of the items ------------------------------------------------------------------------
@dataclass(frozen=True)
class Standing:
    """The items of a split as they are now, arrays (n,).

    ``item_ids`` and ``decision_ids`` are 0 and ``is_gone`` is true for items without a label of the split's classes
    that no person gave. ``decided`` is the position of the class that a person has given since, -1 for another
    decision, -2 for none.
    """

    item_ids: Rows
    label_ids: Rows
    decision_ids: Rows
    decided: Rows
    is_gone: NDArray[np.bool_]

    @property
    def is_decided(self) -> NDArray[np.bool_]:
        return self.decided > -2

    @property
    def is_fixed(self) -> NDArray[np.bool_]:
        """Return which items the split leaves as they are."""
        return self.is_decided | self.is_gone

    @property
    def n_decided(self) -> int:
        return int(np.count_nonzero(self.is_decided))


def standing_of(split: ClassSplit) -> Standing:
    """Return the current labels of the items of a split, and the decisions made since it was proposed."""
    rows = rows_of(split)
    class_ids = [label.pk for label in classes_of(split)] if split.class_ids else []
    place = {pk: position for position, pk in enumerate(class_ids)}
    item_ids, label_ids, decision_ids = (np.zeros(len(rows), np.int64) for _ in range(3))
    items = Item.objects.of(split.dataset).available().filter(label__in={split.label_id, *class_ids})
    for row, pk, label_id, decision_id in items.values_list("row", "pk", "label_id", "decision_id").iterator():
        position = int(np.searchsorted(rows, row))
        if position < len(rows) and rows[position] == row:
            item_ids[position], label_ids[position], decision_ids[position] = pk, label_id, decision_id or 0
    decided = np.full(len(rows), -2, np.int64)
    for row, label_id in _decisions_since(split).values_list("item__row", "label_id"):
        position = int(np.searchsorted(rows, row))
        if position < len(rows) and rows[position] == row:
            decided[position] = place.get(label_id, -1)
    return Standing(item_ids, label_ids, decision_ids, decided, (item_ids == 0) & (decided == -2))


def _decisions_since(split: ClassSplit) -> QuerySet[Annotation]:
    """Return the decisions of people since the parts were proposed that still hold."""
    since = Annotation.objects.filter(item__dataset=split.dataset_id, pk__gt=split.after_id)
    return since.filter(pk=F("item__decision_id")).exclude(queue=SPLIT)


def n_decisions_since(split: ClassSplit) -> int:
    """Return the number of decisions since, about any item: what the ranking of the review depends on."""
    return _decisions_since(split).count()


# -- Proposing ---------------------------------------------------------------------------------------
def propose_split(run: Run) -> dict[str, int]:
    """Run the job ``propose_split``: cluster the labeled items of the class ``label`` in ``n_parts`` (0: as fits)."""
    from modeling.encoders.neighbor_cache import principal_components_of
    from modeling.store import active_vectors
    from sampling.algorithms.splitting import propose

    label = LabelClass.objects.active().filter(pk=run.params["label"], dataset=run.dataset_id).first()
    if label is None:
        raise Refusal("The class was deleted or merged in the meantime.", "Reload the page.")
    run.stage("Looking for parts")
    after_id = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    embedding_set, vectors = active_vectors(run.dataset_id)
    labeled = Item.objects.of(label.dataset).available().filter(label=label).order_by("row")
    rows = np.array(labeled.values_list("row", flat=True), np.int64)
    rows = rows[rows < len(vectors)]
    rows = rows[vectors.has[rows]]
    Z = principal_components_of(embedding_set, vectors)[rows]
    if len(rows) < MIN_LABELS:
        raise Refusal(
            f"“{label.name}” has {len(rows)} labels with an embedding.",
            f"Splitting needs {MIN_LABELS}. Change the labels one by one, or label more images.",
        )
    try:
        found = propose(np.asarray(Z), n_parts=run.params["n_parts"], rng=np.random.default_rng(0))
    except ValueError as error:
        raise Refusal(f"“{label.name}” cannot be split: its images are almost all the same.") from error
    open_splits(label).filter(class_ids=[]).delete()
    split = ClassSplit.objects.create(
        dataset_id=run.dataset_id,
        label=label,
        rows=rows.astype("<i8").tobytes(),
        proposed=found.memberships.astype("<f4").tobytes(),
        typicality=found.typicality.astype("<f4").tobytes(),
        silhouettes={str(k): round(value, 4) for k, value in found.silhouettes.items()},
        n_parts=found.n_parts,
        after_id=after_id,
        created_by_id=run.job.created_by_id,
    )
    return {"split": split.pk}


def open_splits(label: LabelClass) -> QuerySet[ClassSplit]:
    """Return the splits of a class that are not closed, newest first."""
    return ClassSplit.objects.filter(label=label, is_closed=False).select_related("label", "dataset")


def learn(split: ClassSplit) -> None:
    """Train on the decisions since the split, and store how that assigns the other items."""
    from modeling.store import active_vectors
    from sampling.algorithms.splitting import refine

    standing = standing_of(split)
    decided = np.flatnonzero(standing.decided >= 0)
    split.learned, split.n_learned = b"", len(decided)
    if len(decided):
        _, vectors = active_vectors(split.dataset_id)
        parts = refine(vectors.X, rows_of(split), named_parts(split), decided, standing.decided[decided])
        split.learned = parts.memberships.astype("<f4").tobytes()
    split.save(update_fields=["learned", "n_learned"])


def learn_split(run: Run) -> dict[str, int]:
    """Run the job ``learn_split``: learn from the decisions about the items of the split ``split``."""
    split = ClassSplit.objects.select_related("dataset", "label").filter(pk=run.params["split"]).first()
    if split is None or not split.class_ids:
        raise Refusal("This split was taken back in the meantime.", "Reload the page.")
    run.stage("Learning from the review")
    learn(split)
    return {"decisions": split.n_learned}


# -- What it changes -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class PartChange:
    """Describe what a split does with one class: labels that it gets and keeps, and items of it that are left open."""

    label: LabelClass | None
    name: str
    n: int
    n_changed: int
    n_open: int


@dataclass(frozen=True)
class Preview:
    """Describe what a split changes: ``labels`` has the new class of each item, ``decisions`` its decision now."""

    parts: list[PartChange]
    n_changed: int
    n_open: int
    n_kept: int
    n_decided: int
    labels: dict[int, int] = field(default_factory=dict)
    decisions: dict[int, int | None] = field(default_factory=dict)


def preview_of(split: ClassSplit, names: Sequence[str], share: float) -> Preview:
    """Return what a proposal would change with these class names of its parts. Raises Refusal for unusable names."""
    labels = [_existing(split, name) for name in names]
    keys = [same_word(tidy_name(name)) for name in names]
    order = list(dict.fromkeys(keys))
    if len(order) < 2:
        raise Refusal("Give at least two parts different classes.", field="part0")
    parts = merged(proposal_of(split), [order.index(key) for key in keys])
    found = [labels[keys.index(key)] for key in order]
    titles = [tidy_name(names[keys.index(key)]) for key in order]
    return _preview(split, parts, standing_of(split), found, titles, round(share * len(parts.parts)))


def changes_of(split: ClassSplit) -> Preview:
    """Return what the decisions of the review would change now."""
    labels = classes_of(split)
    names = [label.name for label in labels]
    return _preview(split, current_parts(split), standing_of(split), [*labels], names, split.n_review)


def _preview(
    split: ClassSplit,
    parts: Parts,
    standing: Standing,
    labels: list[LabelClass | None],
    names: list[str],
    n_review: int,
) -> Preview:
    is_open = np.zeros(len(standing.item_ids), np.bool_)
    is_open[open_items(parts.confidence, standing.is_fixed, n_review - standing.n_decided)] = True
    ids = np.array([label.pk if label else 0 for label in labels], np.int64)
    owner = parts.parts
    is_settled = ~is_open & ~standing.is_fixed
    is_changed = is_settled & (ids[owner] != standing.label_ids)
    changes = [
        PartChange(
            label,
            name,
            int(np.count_nonzero((owner == part) & ~standing.is_fixed)),
            int(np.count_nonzero((owner == part) & is_changed)),
            int(np.count_nonzero((owner == part) & is_open)),
        )
        for part, (label, name) in enumerate(zip(labels, names, strict=True))
    ]
    changed = np.flatnonzero(is_changed)
    items = standing.item_ids[changed].tolist()
    return Preview(
        parts=changes,
        n_changed=len(changed),
        n_open=int(np.count_nonzero(is_open)),
        n_kept=int(np.count_nonzero(is_settled & ~is_changed)),
        n_decided=standing.n_decided,
        labels=dict(zip(items, ids[owner[changed]].tolist(), strict=True)),
        decisions={
            pk: decision or None for pk, decision in zip(items, standing.decision_ids[changed].tolist(), strict=True)
        },
    )


def _existing(split: ClassSplit, name: str) -> LabelClass | None:
    wanted = same_word(tidy_name(name))
    active = LabelClass.objects.active().filter(dataset=split.dataset_id)
    return next((label for label in active if same_word(label.name) == wanted), None)


# -- Doing it ------------------------------------------------------------------------------------------
def apply_split(split: ClassSplit, names: Sequence[str], share: float, *, user: User | None, holder: str) -> int:
    """Give the parts their classes, except to the least certain ``share`` of the items. Return the labels changed.

    All labels change in one action. Classes that do not exist are added. Raises Refusal for unusable names.
    """
    preview_of(split, names, share)  # refuses unusable names before a class is added
    labels = []
    for name in names:
        label = _existing(split, name)
        if label is None:
            label = add(split.dataset, name, user=user)
            split.added_ids.append(label.pk)
        labels.append(label)
    split.class_ids = [label.pk for label in labels]
    split.n_review = round(share * len(rows_of(split)))
    split.save(update_fields=["class_ids", "added_ids", "n_review"])
    return _relabel(split, user=user, holder=holder)


def update_split(split: ClassSplit, *, user: User | None, holder: str) -> int:
    """Change the labels as the decisions of the review suggest. Return their number."""
    return _relabel(split, user=user, holder=holder)


def _relabel(split: ClassSplit, *, user: User | None, holder: str) -> int:
    changes = changes_of(split)
    action, n = relabel(split.dataset, changes.labels, decisions=changes.decisions, user=user, holder=holder)
    split.actions.add(action)
    return n


def last_action(split: ClassSplit) -> Action | None:
    """Return the newest action of a split that was not undone."""
    return split.actions.filter(undone_by__isnull=True).order_by("-pk").first()


def undo_split(split: ClassSplit, *, user: User | None, holder: str) -> int:
    """Undo the newest action of a split. Return the number of labels that went back.

    After the first action is undone, the split is a proposal again, and empty classes that it added are deleted.
    """
    action = last_action(split)
    if action is None:
        raise Refusal("There is nothing to undo.", "Reload the page.")
    n = take_back(action, user=user, holder=holder)
    if last_action(split) is None:
        for label in LabelClass.objects.active().filter(pk__in=split.added_ids, n_items=0):
            delete(label, user=user, holder=holder)
        split.class_ids, split.added_ids, split.n_review, split.learned, split.n_learned = [], [], 0, b"", 0
        split.save()
    return n


def close_split(split: ClassSplit) -> None:
    """Close a split: what is still open keeps its class."""
    split.is_closed = True
    split.save(update_fields=["is_closed"])
