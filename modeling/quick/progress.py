"""Report the progress of a quick training: its job's stage and progress, its curves, and the best weights so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.jobs.errors import Superseded
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from modeling.backends.quick.keras_loop import Epoch
from modeling.quick import checkpoints
from modeling.quick.checkpoints import Plan

FloatArray = NDArray[np.float32]

# Shortest time between writes of the job's row: from batches, and from epochs if they are short.
_LIVE_SECONDS, _EPOCH_SECONDS = 2.0, 0.5
# If a worker is killed, at most the best weights of this time are lost.
_KEEP_SECONDS = 20.0


class Watch:
    """The ``Watcher`` of a job. ``result`` is the job's result while it runs."""

    def __init__(self, run: Run, plan: Plan, result: dict[str, Any]) -> None:
        self.run, self.plan, self.result = run, plan, result
        self._weights: list[FloatArray] | None = None
        self._is_kept = True
        self._saved_at = float("-inf")
        self._kept_at = time.monotonic()
        self._epoch = 0

    # -- Called by the training ------------------------------------------------------------------------
    def preparing(self, stage: str, total: int) -> None:
        self.run.stage(stage, total)

    def prepared(self, n: int) -> None:
        self.run.advance(n)

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        epochs = self.plan.options.epochs
        stage = f"Training: epoch {epoch} of {epochs}"
        if self._epoch == 0:
            self.run.stage(stage, total=epochs * batches)
        # All epochs are one stage, whatever its name, so that the time left is that of the whole training.
        self._epoch, self.run.job.stage = epoch, stage
        live = {"epoch": epoch, "batch": batch, "batches": batches, "loss": loss, "accuracy": accuracy}
        self.result["live"] = {name: value if math.isfinite(value) else None for name, value in live.items()}
        self.tell(_LIVE_SECONDS)
        self.run.progress((epoch - 1) * batches + batch)

    def epoch(self, epoch: Epoch, best: Callable[[], list[FloatArray]] | None) -> None:
        self.result["epochs"].append(epoch.as_json())
        if best is not None:
            self._weights, self._is_kept = best(), False
            self.result["best_epoch"] = epoch.epoch
            if time.monotonic() - self._kept_at > _KEEP_SECONDS:
                self.keep()
        self.tell(_EPOCH_SECONDS)
        self.run.check()

    # -- Saving -----------------------------------------------------------------------------------------
    def tell(self, pause: float = 0.0) -> None:
        """Write the result so far into the job's row, unless that was done less than ``pause`` seconds ago."""
        if time.monotonic() - self._saved_at < pause:
            return
        self._saved_at = time.monotonic()
        if not self.run.held().update(result=self.result):
            raise Superseded

    def keep(self) -> None:
        """Save the best weights, so that a version can be made of them if the training does not finish."""
        if self._weights is None or self._is_kept:
            return
        best = self.result["epochs"][self.result["best_epoch"] - 1]
        self.result["kept"] = {"epoch": best["epoch"], "val_accuracy": best["val_accuracy"]}
        checkpoints.save(self.run.job.pk, self.plan, self._weights, self.result)
        self._is_kept, self._kept_at = True, time.monotonic()
        # Also for a job that ended in the meantime: its page offers to use them.
        job = self.run.job
        Job.objects.filter(pk=job.pk, worker=job.worker, attempts=job.attempts).exclude(
            state__in=[Job.State.QUEUED, Job.State.SUCCEEDED]
        ).update(result=self.result)
