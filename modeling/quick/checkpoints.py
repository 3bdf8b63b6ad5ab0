"""Save the best weights of a quick training, so that a version can be made of them if it stops early."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import parse_options
from hoshina.core.storage import StoreError, find_arrays, remove_folder, write_arrays
from hoshina.jobs.models import Job
from modeling.encoders.network_input import NetworkInput
from modeling.quick.options import QuickOptions

FloatArray = NDArray[np.float32]
# The fields of a plan that are arrays; all others are saved as JSON.
_ARRAYS = ("rows", "y", "parts", "groups")


@dataclass(frozen=True)
class Plan:
    """The training set, its split, the options and the input of a training, as they were when it started.

    ``rows`` and ``y`` int64 (n,), ``parts`` int8 (n,) of TRAIN, STOPPING, TEST; ``n_left_out`` images could not be
    read. ``groups`` int64 (n,), equal for images that must be in the same part, None if all are separate;
    ``together`` holds the field of the groups.
    """

    dataset_id: int
    options: QuickOptions
    network_input: NetworkInput
    class_ids: list[int]
    n_decisions: int
    rows: NDArray[np.int64]
    y: NDArray[np.int64]
    parts: NDArray[np.int8]
    n_left_out: int
    groups: NDArray[np.int64] | None = None
    together: dict[str, Any] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A plan with the weights of its best epoch, and the result of the job up to then."""

    plan: Plan
    weights: list[FloatArray]
    result: dict[str, Any]


def job_folder(job_id: uuid.UUID | str) -> Path:
    """Return the folder of a training's files while it runs, and of what it leaves."""
    return Path(settings.STORE_DIR) / "quick" / str(job_id)


def save(job_id: uuid.UUID | str, plan: Plan, weights: Sequence[FloatArray], result: dict[str, Any]) -> None:
    """Write the best weights so far atomically."""
    about = {name: value for name, value in vars(plan).items() if name not in (*_ARRAYS, "network_input")}
    about |= {"options": asdict(plan.options), "feed": plan.network_input.as_params(), "told": result}
    arrays = {name: array for name in _ARRAYS if (array := getattr(plan, name)) is not None}
    arrays |= {f"weights{number}": array for number, array in enumerate(weights)}
    write_arrays(_file(job_id), about=np.array(json.dumps(about)), **arrays)


def open_checkpoint(job_id: str) -> Checkpoint:
    """Open what a stopped training has saved. Raises ``Refusal`` if there is nothing."""
    gone = Refusal("The weights of that training no longer exist.", "Start a new quick training.")
    try:
        arrays = find_arrays(_file(uuid.UUID(job_id)), gone.hint) or {}
        about = json.loads(str(arrays.pop("about")))
        result, network_input = about.pop("told"), NetworkInput.from_params(about.pop("feed"))
        about["options"] = parse_options(QuickOptions, about["options"])
        plan = Plan(network_input=network_input, **about, **{name: arrays.pop(name, None) for name in _ARRAYS})
        # The other arrays are weights0, weights1, …
        weights = [arrays[f"weights{number}"] for number in range(len(arrays))]
    except (StoreError, ValueError, KeyError, TypeError) as error:
        raise gone from error
    return Checkpoint(plan, weights, result)


def forget(dataset_id: int) -> None:
    """Delete what stopped trainings of a dataset have saved, after a newer one succeeded."""
    jobs = Job.objects.filter(kind="quick_train", dataset_id=dataset_id).exclude(state__in=Job.ACTIVE)
    for job in jobs.filter(result__has_key="kept"):
        del job.result["kept"]
        job.save(update_fields=["result"])
        remove(job.pk)


def remove(job_id: uuid.UUID | str) -> None:
    """Delete the files of one training."""
    remove_folder(job_folder(job_id))


def _file(job_id: uuid.UUID | str) -> Path:
    return job_folder(job_id) / "kept.npz"
