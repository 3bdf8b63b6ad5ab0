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
    told: dict[str, Any]


def job_folder(job_id: uuid.UUID | str) -> Path:
    """Return the folder of a training's files while it runs, and of what it leaves."""
    return Path(settings.STORE_DIR) / "quick" / str(job_id)


def save(job_id: uuid.UUID | str, plan: Plan, weights: Sequence[FloatArray], told: dict[str, Any]) -> None:
    """Write the best weights so far atomically."""
    about = {
        "dataset_id": plan.dataset_id,
        "options": asdict(plan.options),
        "feed": plan.network_input.as_params(),
        "class_ids": plan.class_ids,
        "n_decisions": plan.n_decisions,
        "n_left_out": plan.n_left_out,
        "together": plan.together,
        "told": told,
    }
    arrays: dict[str, Any] = {f"weights{number}": one for number, one in enumerate(weights)}
    if plan.groups is not None:
        arrays["groups"] = plan.groups
    text = np.array(json.dumps(about))
    write_arrays(_file(job_id), about=text, rows=plan.rows, y=plan.y, parts=plan.parts, **arrays)


def open_checkpoint(job_id: str) -> Checkpoint:
    """Open what a stopped training has saved. Raises ``Refusal`` if there is nothing."""
    gone = Refusal("The weights of that training no longer exist.", "Start a new quick training.")
    try:
        found = find_arrays(_file(uuid.UUID(job_id)), gone.hint) or {}
        about = json.loads(str(found["about"]))
        names = [name for name in found if name.startswith("weights")]
        weights = [found[name] for name in sorted(names, key=lambda name: int(name.removeprefix("weights")))]
        plan = Plan(
            about["dataset_id"],
            parse_options(QuickOptions, about["options"]),
            NetworkInput.from_params(about["feed"]),
            about["class_ids"],
            about["n_decisions"],
            found["rows"],
            found["y"],
            found["parts"],
            about["n_left_out"],
            found.get("groups"),
            about.get("together"),
        )
    except (StoreError, ValueError, KeyError) as error:
        raise gone from error
    return Checkpoint(plan, weights, about["told"])


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
