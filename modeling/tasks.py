"""The jobs of this room. The work is in ``modeling.pipelines``, imported once a worker needs it."""

from __future__ import annotations

from typing import Any

from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run


def run_embed_chunk(run: Run, start: int, stop: int) -> None:
    from modeling.pipelines.embedding import embed_chunk

    embed_chunk(run, start, stop)


@background(
    kind="embed",
    queue="heavy",
    title="Computing vectors",
    restartable=True,
    key="embed:{dataset_id}",
    chunk=run_embed_chunk,
)
def run_embed(run: Run) -> dict[str, Any]:
    from modeling.pipelines.embedding import embed
    from modeling.policy import retrain_after_embedding

    result = embed(run)
    retrain_after_embedding(run.dataset_id)
    return result


@background(kind="retrain", queue="interactive", title="Training the model", key="retrain:{dataset_id}")
def run_retrain(run: Run) -> dict[str, Any]:
    from modeling.pipelines.retraining import retrain

    return retrain(run)


@background(kind="quick_train", queue="heavy", title="Quick training", key="quick_train:{dataset_id}")
def run_quick_train(run: Run) -> dict[str, Any]:
    from modeling.pipelines.quick_training import quick_train

    return quick_train(run)


@background(
    kind="predict", queue="interactive", title="Predicting again", key="predict:{dataset_id}:{version}:{is_refresh}"
)
def run_predict(run: Run) -> dict[str, Any]:
    from modeling.pipelines.predicting import predict

    return predict(run)
