"""Filter by held-out predictions: one entry of a version's confusion matrix, or items on which two versions differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from labeling.models import Dataset
from modeling.models import ModelVersion
from modeling.versions.comparison import SIDES, shared
from modeling.versions.model_files import open_held_out
from sampling.queues.strategy import BadParameter

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Unseen:
    """A filter by held-out predictions.

    It selects an entry of one version's confusion matrix (``confused``), or the items on which two versions
    (``differ``) disagree, by which is ``right``.
    """

    confused: int = 0
    differ: tuple[int, int] = (0, 0)
    right: str = ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the versions it refers to."""
        return (self.confused,) if self.confused else self.differ

    def as_params(self) -> dict[str, Any]:
        """Return the filter as parameters of a URL or a round."""
        if self.confused:
            return {"confused": self.confused}
        return {"differ": "-".join(str(number) for number in self.differ), "right": self.right}


def unseen_from(params: Any) -> Unseen | None:
    """Return the filter in the parameters of a URL or a round, or None. Raises BadParameter if it is invalid."""
    confused, differ, right = (str(params.get(name) or "") for name in ("confused", "differ", "right"))
    if confused:
        return Unseen(confused=_number(confused))
    if not differ:
        return None
    if right not in SIDES:
        raise BadParameter(f"right must be one of {', '.join(SIDES)}, not {right[:40]!r}.")
    first, _, second = differ.partition("-")
    return Unseen(differ=(_number(first), _number(second)), right=right)


def rows_of(dataset: Dataset, unseen: Unseen, label: int | None, predicted: int | None) -> Rows:
    """Return the rows that match the filter, ascending.

    ``label`` and ``predicted`` are class ids of the version's confusion matrix: label and prediction at the time of
    training, whatever became of the classes since. So an entry has exactly the images that it counts.
    """
    if unseen.confused:
        return _confused(_version(dataset, unseen.confused), label, predicted)
    both = shared(*(_version(dataset, number) for number in unseen.differ))
    if both is None:
        raise _gone(f"models {unseen.differ[0]} and {unseen.differ[1]}")
    return both.side(unseen.right)


def describe(unseen: Unseen, label: str, predicted: str) -> str:
    """Describe the filter as text; ``label`` and ``predicted`` are class names, "" for any."""
    if unseen.confused:
        entry = f"labeled {label or 'as any class'}, predicted as {predicted or 'any class'}"
        return f"Images {entry} by model {unseen.confused} when held out"
    first, second = unseen.differ
    right = {"first": f"only model {first} is right", "second": f"only model {second} is right"}.get(unseen.right)
    return f"Images on which models {first} and {second} differ: {right or 'both are wrong'}"


def _confused(version: ModelVersion, label: int | None, predicted: int | None) -> Rows:
    held = open_held_out(version)
    if held is None:
        raise _gone(str(version))
    wanted = np.ones(len(held.rows), dtype=np.bool_)
    if label is not None:
        wanted &= held.columns == _column(version, label)
    if predicted is not None:
        wanted &= held.probabilities.argmax(axis=1) == _column(version, predicted)
    rows: Rows = held.rows[wanted]
    return rows


def _gone(versions: str) -> Refusal:
    text = f"The held-out predictions of {versions} are no longer stored. Newer versions still have theirs."
    return Refusal("No longer stored", text)


def _column(version: ModelVersion, class_id: int) -> int:
    if class_id not in version.class_ids:
        raise BadParameter(f"{str(version).capitalize()} was not trained on that class.")
    return int(version.class_ids.index(class_id))


def _version(dataset: Dataset, number: int) -> ModelVersion:
    version = ModelVersion.objects.filter(dataset=dataset, number=number).first()
    if version is None:
        raise BadParameter(f"There is no model {number}.")
    return version


def _number(raw: str) -> int:
    number = whole_number(raw, 9)
    if number is None:
        raise BadParameter(f"Give the number of a model, not {raw[:40]!r}.")
    return number
