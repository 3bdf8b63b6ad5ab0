"""The job of this room: a pull too heavy for the web process."""

from __future__ import annotations

from typing import Any

from hoshina.jobs.errors import JobError
from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run


@background(kind="rank", queue="interactive", title="Ranking", key="rank:{dataset_id}:{fingerprint}", is_quiet=True)
def run_rank(run: Run) -> dict[str, Any]:
    from labeling.models import Dataset
    from sampling.selection import CannotRank, Order
    from sampling.strategies import BadParameter

    run.stage("Ranking the images")
    order = Order(**run.params["order"])
    try:
        round_ = order.pull(Dataset.objects.get(pk=run.dataset_id))
    except CannotRank as problem:
        raise JobError(problem.title, hint=problem.text) from problem
    except BadParameter as problem:
        raise JobError("That can't be shown.", hint=str(problem)) from problem
    return {"round": round_.pk}
