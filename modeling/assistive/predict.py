"""Predict every image again with an existing version: one whose predictions were deleted or lack new images."""

from __future__ import annotations

from typing import Any

from hoshina.core.errors import Refusal
from hoshina.jobs.runner import Run
from labeling.models import Dataset
from modeling import store
from modeling.algorithms.head import Head
from modeling.assistive.pipeline import predict_rows
from modeling.encoders.neighbor_cache import smoothing_of
from modeling.models import ModelVersion
from modeling.versions import active as active_version
from modeling.versions import model_files

_OTHERS = "Choose another version, or retrain."


def predict(run: Run) -> dict[str, Any]:
    """Compute the probabilities of version ``run.params["version"]`` for every image that has an embedding.

    Its classifier and the embeddings that it was trained on must still exist. Afterwards the version is active, as if
    chosen by a person; with ``run.params["is_refresh"]`` only its predictions are extended to the newest images.
    """
    dataset = Dataset.objects.get(pk=run.dataset_id)
    number = run.params["version"]
    run.stage(f"Reading model {number} and its embeddings")
    version = ModelVersion.objects.filter(dataset=dataset, number=number).select_related("embedding_set").first()
    if version is None:
        raise Refusal(f"Model {number} does not exist any more.", hint="Choose another version.")
    head, vectors = _classifier(version), _vectors(version)
    if head.weights.shape != (vectors.dim, len(version.class_ids)):
        raise Refusal(f"Model {number} does not fit the current embeddings.", hint=_OTHERS)
    smoothing = smoothing_of(version.embedding_set, vectors) if version.steps and version.embedding_set else None
    predict_rows(run, version, vectors, head, smoothing)
    ModelVersion.objects.filter(pk=version.pk).update(n_rows=len(vectors))
    if not run.params["is_refresh"]:
        active_version.activate(version, is_chosen=True)
    return {"model_version": version.number, "items": int(vectors.has.sum())}


def _classifier(version: ModelVersion) -> Head:
    head = model_files.open_head(version)
    if head is not None:
        return head
    if version.kind == ModelVersion.Kind.QUICK:
        raise Refusal(
            f"The predictions of model {version.number} are missing, and a quick training cannot compute them again.",
            hint="Train it again, or choose another version.",
        )
    if version.kind == ModelVersion.Kind.EXTERNAL:
        raise Refusal(
            f"The predictions of model {version.number} are missing. They were imported from a file.",
            hint="Import the file again, or choose another version.",
        )
    raise Refusal(
        f"The classifier of model {version.number} is no longer stored, so it cannot predict again.", hint=_OTHERS
    )


def _vectors(version: ModelVersion) -> store.Vectors:
    embedding_set = version.embedding_set
    vectors = store.open_vectors(embedding_set) if embedding_set is not None else None
    if vectors is None:
        raise Refusal(
            f"The embeddings that model {version.number} was trained on were deleted, so it cannot predict again.",
            hint=_OTHERS,
        )
    return vectors
