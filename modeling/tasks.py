"""Register the jobs of this app. Their code is in the feature folders, imported when a worker needs it."""

from __future__ import annotations

from typing import Any

from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run


def run_embed_chunk(run: Run, start: int, stop: int) -> None:
    from modeling.encoders.pipeline import embed_chunk

    embed_chunk(run, start, stop)


@background(
    kind="embed",
    queue="heavy",
    title="Computing embeddings",
    restartable=True,
    key="embed:{dataset_id}",
    chunk=run_embed_chunk,
)
def run_embed(run: Run) -> dict[str, Any]:
    from modeling.assistive.policy import retrain_after_embedding
    from modeling.encoders.pipeline import embed
    from modeling.leakage.schedule import check_if_due
    from modeling.maps.projections import maps_after_embedding

    result = embed(run)
    retrain_after_embedding(run.dataset_id)
    maps_after_embedding(run.dataset_id)
    check_if_due(run.dataset_id, is_embedded=True)
    return result


@background(
    kind="import_embeddings", queue="heavy", title="Importing embeddings", key="import_embeddings:{dataset_id}",
    restartable=True, is_silent=True,
)  # fmt: skip
def run_import_embeddings(run: Run) -> dict[str, Any]:
    from modeling.external.jobs import run_embeddings

    return run_embeddings(run)


@background(
    kind="import_predictions", queue="heavy", title="Importing predictions", key="import_predictions:{dataset_id}",
    restartable=True, is_silent=True,
)  # fmt: skip
def run_import_predictions(run: Run) -> dict[str, Any]:
    from modeling.external.jobs import run_predictions

    return run_predictions(run)


@background(
    kind="retrain", queue="interactive", title="Training the model", key="retrain:{dataset_id}", is_silent=True,
    restartable=True,
)  # fmt: skip
def run_retrain(run: Run) -> dict[str, Any]:
    from labeling.models import Dataset
    from modeling.assistive.pipeline import retrain
    from modeling.assistive.policy import embed_and_retrain
    from modeling.leakage.schedule import check_if_due
    from modeling.store import MissingEmbeddings

    try:
        result = retrain(run)
    except MissingEmbeddings:
        if run.params.get("is_after_embedding"):  # the images cannot be read: another embedding job would not help
            raise
        embed_and_retrain(Dataset.objects.get(pk=run.dataset_id))
        return {"waits_for": "embed"}
    check_if_due(run.dataset_id)  # there may have been no labels when the embeddings were completed
    return result


@background(kind="quick_train", queue="heavy", title="Quick training", key="quick_train:{dataset_id}")
def run_quick_train(run: Run) -> dict[str, Any]:
    from modeling.quick.pipeline import quick_train

    return quick_train(run)


@background(
    kind="predict", queue="interactive", title="Predicting again", key="predict:{dataset_id}:{version}:{is_refresh}",
    restartable=True,
)  # fmt: skip
def run_predict(run: Run) -> dict[str, Any]:
    from modeling.assistive.predict import predict

    return predict(run)


@background(
    kind="project_map",
    queue="heavy",
    title="Computing a map",
    restartable=True,  # from the start: nothing is saved before the end
    key="project_map:{dataset_id}:{method}:{n_neighbors}:{min_dist}:{perplexity}:{metric}:{seed}:{is_supervised}:{name}:{is_automatic}",
)
def run_project_map(run: Run) -> dict[str, Any]:
    from modeling.maps.pipeline import project_map
    from modeling.maps.projections import maps_after_embedding

    result = project_map(run)
    maps_after_embedding(run.dataset_id)  # there may be new embeddings
    return result


@background(
    kind="check_leakage", queue="heavy", title="Looking for near-duplicates", key="check_leakage:{dataset_id}",
    restartable=True, unit="images", is_silent=True, gives_way=True,
)  # fmt: skip
def run_check_leakage(run: Run) -> dict[str, Any]:
    from modeling.leakage.pipeline import check_leakage

    return check_leakage(run)


@background(
    kind="place_on_maps",
    queue="heavy",
    title="Placing new images on the maps",
    key="place_on_maps:{dataset_id}",
    restartable=True,
)
def run_place_on_maps(run: Run) -> dict[str, Any]:
    from modeling.maps.pipeline import place_on_maps

    return place_on_maps(run)
