"""Register the jobs of this app: pulls too slow for the web process, outlier scores, and parts of a split class."""

from __future__ import annotations

from typing import Any

from hoshina.core.errors import Refusal
from hoshina.jobs.errors import Cancelled
from hoshina.jobs.models import Job
from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run

SMALL = 100_000


@background(
    kind="rank", queue="interactive", title="Ranking", key="rank:{dataset_id}:{fingerprint}", is_quiet=True,
    restartable=True,
)  # fmt: skip
def run_rank(run: Run) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    from labeling.models import Dataset
    from sampling.queues.pull import Order
    from sampling.queues.strategy import BadParameter

    run.stage("Ranking the images")
    order = Order(**run.params["order"])

    def check(stage: str, done: int, total: int) -> None:
        run.check()
        # Only before an array is computed, which later rankings use as well: otherwise none might ever be complete.
        if order.queue == "auto" and not done:
            _require_no_retrain(run)

    dataset = Dataset.objects.get(pk=run.dataset_id)
    # While an embedding job uses every core, threads that wait for each other make small tasks many times slower; only
    # large ones gain from threads.
    threads = 1 if dataset.n_items < SMALL else None
    try:
        with threadpool_limits(limits=threads):
            round_ = order.pull(dataset, check)
    except BadParameter as problem:
        raise Refusal("These images cannot be ranked.", hint=str(problem)) from problem
    return {"round": round_.pk}


def _require_no_retrain(run: Run) -> None:
    """Raise Cancelled if a training waits: nobody waits for Auto's ranking, and a new model replaces it."""
    if Job.objects.filter(kind="retrain", dataset_id=run.dataset_id, state=Job.State.QUEUED).exists():
        raise Cancelled


@background(
    kind="oddness",
    queue="heavy",
    title="Computing outlier scores",
    key="oddness:{dataset_id}:{method}",
    restartable=True,
)
def run_oddness(run: Run) -> dict[str, Any]:
    """Compute outlier scores once for an embedding set; results cached before a worker died are used."""
    from modeling.encoders.neighbor_cache import recall_of
    from modeling.store import active_vectors
    from sampling.queues.outlier_cache import oddness_of

    embedding_set, vectors = active_vectors(run.dataset_id)

    def tell(stage: str, done: int, total: int) -> None:
        if stage != run.job.stage:
            run.stage(stage, total)
        run.progress(done)

    oddness_of(embedding_set, vectors, run.params["method"], tell)
    return {"images": int(vectors.has.sum()), "recall": recall_of(embedding_set)}


@background(
    kind="propose_split",
    queue="interactive",
    title="Looking for parts of a class",
    key="propose_split:{dataset_id}:{label}",
    is_silent=True,
)
def run_propose_split(run: Run) -> dict[str, Any]:
    from sampling.classes.split import propose_split

    return propose_split(run)


@background(
    kind="learn_split",
    queue="interactive",
    title="Learning from a review",
    key="learn_split:{dataset_id}:{split}",
    is_silent=True,
)
def run_learn_split(run: Run) -> dict[str, Any]:
    from sampling.classes.split import learn_split

    return learn_split(run)
