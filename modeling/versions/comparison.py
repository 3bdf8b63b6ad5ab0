"""Compare two versions: which is right on the images that both held out, and how their labels and options differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.models import LabelClass
from modeling.algorithms.paired import Paired, paired
from modeling.models import ModelVersion
from modeling.predictions import HeldOutPredictions, held_out_of

Rows = NDArray[np.int64]
# The possible outcomes where two versions disagree, as URLs name them.
SIDES = ("first", "second", "neither")


@dataclass(frozen=True)
class Shared:
    """The held-out predictions of two versions on the images that both held out.

    ``rows`` int64 (m,), ascending; ``given`` int64 (m,) the class ids of the labels in the later version's training
    set; ``first`` and ``second`` int64 (m,) the ids of the predicted classes; ``groups`` int64 (m,), equal for
    images that the later version held out together, or None if all were separate.
    """

    rows: Rows
    given: Rows
    first: Rows
    second: Rows
    groups: Rows | None

    def paired(self) -> Paired:
        return paired(self.first == self.given, self.second == self.given, self.groups)

    def side(self, name: str) -> Rows:
        """Return the rows on which they disagree and the ``first``, the ``second`` or ``neither`` is right."""
        is_first, is_second = self.first == self.given, self.second == self.given
        differs = self.first != self.second
        chosen = {"first": is_first, "second": is_second, "neither": ~is_first & ~is_second}[name]
        rows: Rows = self.rows[differs & chosen]
        return rows


def shared(first: ModelVersion, second: ModelVersion) -> Shared | None:
    """Return the images that both versions held out; None if one of them held out none or its files are missing.

    Both are judged by the labels of the later version's training set. Images of deleted classes are left out, and the
    only label of a class: no fit without it could have predicted it.
    """
    of_first, of_second = held_out_of(first), held_out_of(second)
    if of_first is None or of_second is None:
        return None
    rows, at_first, at_second = np.intersect1d(of_first.rows, of_second.rows, assume_unique=True, return_indices=True)
    later = (of_first, at_first) if first.number > second.number else (of_second, at_second)
    given = later[0].given[later[1]]
    told = (given > 0) & ~of_first.is_alone[at_first] & ~of_second.is_alone[at_second]
    groups = later[0].groups
    return Shared(
        rows[told],
        given[told],
        of_first.predicted()[at_first][told],
        of_second.predicted()[at_second][told],
        None if groups is None else groups[later[1]][told],
    )


# -- Training labels ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Change:
    """The labels of one class in two versions; ``label`` None stands for all deleted classes.

    ``gained`` and ``lost`` count images that had another class before or after. If only totals are known, the
    difference is in ``added`` or ``removed``.
    """

    label: LabelClass | None
    before: int
    after: int
    added: int = 0
    removed: int = 0
    gained: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Changes:
    """The changes in the labels; ``is_exact`` is false if only totals by class are known."""

    lines: list[Change]
    is_exact: bool

    @property
    def added(self) -> int:
        return sum(line.added for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.removed for line in self.lines)

    @property
    def changed(self) -> int:
        return sum(line.gained for line in self.lines)


def changes(before: ModelVersion, after: ModelVersion, labels: Mapping[int, LabelClass | None]) -> Changes | None:
    """Return the labels added, removed or changed between two versions; None if not even totals are known.

    ``labels`` maps each class id to the current class (:func:`modeling.versions.facts.survivors`).
    """
    of_before, of_after = _all_labels(before), _all_labels(after)
    if of_before is not None and of_after is not None:
        return Changes(_exact(of_before, of_after, labels), is_exact=True)
    known_before, known_after = labels_by_class(before, labels), labels_by_class(after, labels)
    if known_before is None or known_after is None:
        return None
    return Changes(_totals(known_before, known_after, labels), is_exact=False)


def _all_labels(version: ModelVersion) -> HeldOutPredictions | None:
    """Return the held-out predictions if they cover every label: a quick training only has those of its test set."""
    held = held_out_of(version)
    return held if held is not None and len(held.rows) == version.n_labels else None


def labels_by_class(version: ModelVersion, labels: Mapping[int, LabelClass | None]) -> Counter[int] | None:
    """Return the number of training labels of each current class (0: deleted); None if it was not stored."""
    counts = version.metrics.get("n_per_class") or [sum(row) for row in version.metrics.get("confusion") or ()]
    if not counts:
        return None
    found: Counter[int] = Counter()
    for class_id, count in zip(version.class_ids, counts, strict=True):
        label = labels.get(class_id)
        found[label.pk if label else 0] += count
    return found


def _exact(
    before: HeldOutPredictions, after: HeldOutPredictions, labels: Mapping[int, LabelClass | None]
) -> list[Change]:
    _, at_before, at_after = np.intersect1d(before.rows, after.rows, assume_unique=True, return_indices=True)
    was, now = before.given[at_before], after.given[at_after]
    moved = was != now
    counted = {
        "before": Counter(before.given.tolist()),
        "after": Counter(after.given.tolist()),
        "added": Counter(np.delete(after.given, at_after).tolist()),
        "removed": Counter(np.delete(before.given, at_before).tolist()),
        "gained": Counter(now[moved].tolist()),
        "lost": Counter(was[moved].tolist()),
    }
    every = counted["before"].keys() | counted["after"].keys()
    return [
        Change(label, **{name: counts[class_id] for name, counts in counted.items()})
        for class_id, label in _in_order(every, labels)
    ]


def _totals(before: Counter[int], after: Counter[int], labels: Mapping[int, LabelClass | None]) -> list[Change]:
    return [
        Change(
            label,
            before[class_id],
            after[class_id],
            added=max(0, after[class_id] - before[class_id]),
            removed=max(0, before[class_id] - after[class_id]),
        )
        for class_id, label in _in_order(before.keys() | after.keys(), labels)
    ]


def _in_order(class_ids: set[int], labels: Mapping[int, LabelClass | None]) -> list[tuple[int, LabelClass | None]]:
    """Sort classes as in the class list, deleted ones last."""
    found = [(class_id, labels.get(class_id)) for class_id in class_ids]
    return sorted(found, key=lambda pair: (pair[1] is None, pair[1].order if pair[1] else 0, pair[0]))


# -- Descriptions ---------------------------------------------------------------------------------
def differences(
    before: ModelVersion, after: ModelVersion, labels: Mapping[int, LabelClass | None]
) -> list[tuple[str, str, str]]:
    """Return the other differences as texts: (what, before, after)."""
    pairs = [
        ("Kind", before.get_kind_display(), after.get_kind_display()),
        ("Embeddings", str(before.embedding_set or "none"), str(after.embedding_set or "none")),
        ("Calibration", calibration_words(before), calibration_words(after)),
    ]
    # The options of a quick training have no counterpart in an assistive model.
    named = before.options.keys() | after.options.keys() if before.kind == after.kind else set()
    for name in sorted(named):
        was, now = (str(one.options.get(name, "default")) for one in (before, after))
        pairs.append((option_words(name), was, now))
    new, gone = (
        ", ".join(_name(class_id, labels) for class_id in one.class_ids if class_id not in other.class_ids)
        for one, other in ((after, before), (before, after))
    )
    if new:
        pairs.append(("Classes", f"without {new}", f"with {new}"))
    if gone:
        pairs.append(("Classes", f"with {gone}", f"without {gone}"))
    return [pair for pair in pairs if pair[1] != pair[2]]


def calibration_words(version: ModelVersion) -> str:
    """Describe the calibration of the version's probabilities."""
    if not version.is_calibrated:
        return "uncalibrated"
    words = {
        "temperature": f"temperature {version.temperature:.2f}",
        "platt": "Platt scaling",
        "vector": "vector scaling",
    }
    return words.get(version.calibration_method, "no correction needed")


def option_words(name: str) -> str:
    """Format an option's name for a page: ``is_fine_tuned`` becomes "Fine tuned"."""
    return name.removeprefix("is_").replace("_", " ").capitalize()


def verdict(told: Paired, first: ModelVersion, second: ModelVersion) -> str:
    """State which of two versions is better on the same images, if the data show it."""
    low, high = told.interval()
    if low > 0:
        return f"{second} is more often right than {first}."
    if high < 0:
        return f"{second} is less often right than {first}."
    return f"No significant difference between {first} and {second}."


def _name(class_id: int, labels: Mapping[int, LabelClass | None]) -> str:
    label = labels.get(class_id)
    return label.name if label else "a deleted class"
