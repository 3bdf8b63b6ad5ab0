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
from modeling.versions.options import option_texts

Rows = NDArray[np.int64]
# The possible outcomes where two versions disagree, as URLs name them.
# With a wider interval of the difference, the images are too few to tell two versions apart.
WIDE = 0.3
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
    later, at_later = (of_first, at_first) if first.number > second.number else (of_second, at_second)
    labels = later.given[at_later]
    usable = (labels > 0) & ~of_first.is_alone[at_first] & ~of_second.is_alone[at_second]
    return Shared(
        rows[usable],
        labels[usable],
        of_first.predicted()[at_first][usable],
        of_second.predicted()[at_second][usable],
        None if later.groups is None else later.groups[at_later][usable],
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
        return Changes(_lines(_moves(of_before, of_after), labels), is_exact=True)
    n_before, n_after = labels_by_class(before, labels), labels_by_class(after, labels)
    if n_before is None or n_after is None:
        return None
    counts = {"before": n_before, "after": n_after, "added": n_after - n_before, "removed": n_before - n_after}
    return Changes(_lines(counts, labels), is_exact=False)


def _all_labels(version: ModelVersion) -> HeldOutPredictions | None:
    """Return the held-out predictions if they cover every label: a quick training only has those of its test set."""
    held = held_out_of(version)
    return held if held is not None and len(held.rows) == version.n_labels else None


def labels_by_class(version: ModelVersion, labels: Mapping[int, LabelClass | None]) -> Counter[int] | None:
    """Return the number of training labels of each current class (0: deleted); None if it was not stored."""
    counts = version.metrics.get("n_per_class") or [sum(row) for row in version.metrics.get("confusion") or ()]
    if not counts:
        return None
    by_class: Counter[int] = Counter()
    for class_id, count in zip(version.class_ids, counts, strict=True):
        label = labels.get(class_id)
        by_class[label.pk if label else 0] += count
    return by_class


def _moves(before: HeldOutPredictions, after: HeldOutPredictions) -> dict[str, Counter[int]]:
    """Return the number of labels by class id for each field of :class:`Change`."""
    _, at_before, at_after = np.intersect1d(before.rows, after.rows, assume_unique=True, return_indices=True)
    was, now = before.given[at_before], after.given[at_after]
    class_ids = {
        "before": before.given,
        "after": after.given,
        "added": np.delete(after.given, at_after),
        "removed": np.delete(before.given, at_before),
        "gained": now[was != now],
        "lost": was[was != now],
    }
    return {name: Counter(ids.tolist()) for name, ids in class_ids.items()}


def _lines(counts: Mapping[str, Counter[int]], labels: Mapping[int, LabelClass | None]) -> list[Change]:
    """Return a line for each class in the order of the class list, deleted ones last."""

    def place(class_id: int) -> tuple[bool, int, int]:
        label = labels.get(class_id)
        return label is None, label.order if label else 0, class_id

    return [
        Change(labels.get(class_id), **{name: of_classes[class_id] for name, of_classes in counts.items()})
        for class_id in sorted(counts["before"].keys() | counts["after"].keys(), key=place)
    ]


# -- Descriptions ---------------------------------------------------------------------------------
def differences(
    before: ModelVersion, after: ModelVersion, labels: Mapping[int, LabelClass | None]
) -> list[tuple[str, str, str]]:
    """Return the other differences as texts: (what, before, after)."""
    pairs = [
        ("Kind", before.get_kind_display(), after.get_kind_display()),
        ("Embeddings", str(before.embedding_set or "none"), str(after.embedding_set or "none")),
        ("Calibration", calibration_text(before), calibration_text(after)),
    ]
    # The options of a quick training have no counterpart in an assistive model.
    if before.kind == after.kind:
        texts_before, texts_after = option_texts(before), option_texts(after)
        for name in texts_after | texts_before:
            was, now = (texts.get(name, ("", "default"))[1] for texts in (texts_before, texts_after))
            pairs.append(((texts_after.get(name) or texts_before[name])[0], was, now))
    for version, other, texts in ((after, before, ("without", "with")), (before, after, ("with", "without"))):
        ids = [class_id for class_id in version.class_ids if class_id not in other.class_ids]
        names = ", ".join(label.name if (label := labels.get(at)) else "a deleted class" for at in ids)
        if names:
            pairs.append(("Classes", f"{texts[0]} {names}", f"{texts[1]} {names}"))
    return [pair for pair in pairs if pair[1] != pair[2]]


def calibration_text(version: ModelVersion) -> str:
    """Describe the calibration of the version's probabilities."""
    if not version.is_calibrated:
        return "uncalibrated"
    texts = {
        "temperature": f"temperature {version.temperature:.2f}",
        "platt": "Platt scaling",
        "vector": "vector scaling",
    }
    return texts.get(version.calibration_method, "no correction needed")


def verdict(result: Paired, first: ModelVersion, second: ModelVersion) -> str:
    """State which of two versions is better on the same images, if the data show it."""
    low, high = result.interval()
    if low > 0 or high < 0:
        return f"{second} is {'more' if low > 0 else 'less'} often right than {first}."
    if high - low > WIDE:
        return f"Too few images were held out by both ({result.n}) to tell which of {first} and {second} is better."
    return f"No significant difference between {first} and {second}."
