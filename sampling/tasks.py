"""The job of this room: a pull too heavy for the web process."""

from __future__ import annotations

from typing import Any

from hoshina.jobs.errors import JobError
from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run

SMALL = 100_000


@background(kind="rank", queue="interactive", title="Ranking", key="rank:{dataset_id}:{fingerprint}", is_quiet=True)
def run_rank(run: Run) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    from labeling.models import Dataset
    from sampling.selection import CannotRank, Order
    from sampling.strategies import BadParameter

    run.stage("Ranking the images")
    order = Order(**run.params["order"])
    dataset = Dataset.objects.get(pk=run.dataset_id)
    # Beside an embedding that keeps every core busy, threads that wait for each other make small work many
    # times slower; large work is worth them.
    threads = 1 if dataset.n_items < SMALL else None
    try:
        with threadpool_limits(limits=threads):
            round_ = order.pull(dataset)
    except CannotRank as problem:
        raise JobError(problem.title, hint=problem.text) from problem
    except BadParameter as problem:
        raise JobError("That can't be shown.", hint=str(problem)) from problem
    return {"round": round_.pk}
