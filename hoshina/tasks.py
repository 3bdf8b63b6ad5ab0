"""Register the jobs of the top of the project."""

from __future__ import annotations

from typing import Any

from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run


@background(
    kind="delete_dataset",
    queue="heavy",
    title="Deleting a dataset",
    restartable=True,
    key="delete_dataset:{dataset_id}",
    unit="images",
)
def run_delete_dataset(run: Run) -> dict[str, Any]:
    from hoshina.datasets.deletion import delete

    return delete(run)
