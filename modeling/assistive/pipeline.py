"""Retrain the assistive model: fit it to labels and embeddings, calibrate it and predict every item."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
from django.db.models import Max
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.storage import PageReleaser
from hoshina.jobs.runner import Run
from labeling.models import Dataset, LabelClass
from modeling import signals, store
from modeling.algorithms.head import ABSENT_LOGIT, Head, predict_in_blocks
from modeling.algorithms.scaling import Calibration, Method
from modeling.algorithms.smoothing import Smoothing, smoothed_rows
from modeling.algorithms.train import ClassWeights, Trained, train
from modeling.assistive.policy import policy_of
from modeling.assistive.training_set import TrainingSet, count_decisions, gathered, read_training_set, still_in_use
from modeling.encoders.neighbor_cache import Tell, smoothing_of
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.versions import active as active_version
from modeling.versions import model_files

log = logging.getLogger(__name__)

SEED = 0
# Attempts in all: training starts again if classes were deleted or merged while it ran.
ATTEMPTS = 3


def retrain(run: Run) -> dict[str, Any]:
    """Train, calibrate and predict every item, and activate the new version."""
    started = time.perf_counter()
    dataset = Dataset.objects.get(pk=run.dataset_id)
    run.stage("Reading labels and embeddings")
    _refuse_unlabeled(dataset)
    embedding_set, vectors = store.active_vectors(dataset.pk)
    policy = policy_of(dataset)
    smoothing = smoothing_of(embedding_set, vectors, _teller(run)) if policy.is_smoothed else None
    training_set, trained = _learn(run, dataset, embedding_set, vectors, policy, smoothing)
    version = _new_version(dataset, embedding_set, training_set, trained, n_rows=len(vectors.X))
    try:
        model_files.save_head(version, trained.head)
        predict_rows(run, version, vectors, trained.head, smoothing)
        if trained.held_out is not None:
            held_out = model_files.HeldOut(
                training_set.rows, training_set.y, trained.held_out, training_set.holdout.groups()
            )
            model_files.save_held_out(version, held_out)
        run.stage("Activating the model")  # unless it was cancelled: a person may have chosen another version
    except BaseException:
        model_files.delete_files(version)
        version.delete()
        raise
    chosen = active_version.chosen_external(dataset)
    if chosen is None:
        active_version.activate(version, seconds=time.perf_counter() - started)
    else:
        active_version.keep_beside(version, seconds=time.perf_counter() - started)
    signals.trained.send(sender=ModelVersion, version=version)
    result = summary(version, trained.metrics) | {"newer": count_decisions(dataset) - training_set.n_decisions}
    return result | ({"in_use": chosen.number} if chosen is not None else {})


def _teller(run: Run) -> Tell:
    """Return a function that reports the stages of computing neighbors as those of the run."""

    def tell(stage: str, done: int, total: int) -> None:
        if run.job.stage != stage:
            run.stage(stage, total=total)
        run.progress(done, total)

    return tell


def _learn(
    run: Run,
    dataset: Dataset,
    embedding_set: EmbeddingSet,
    vectors: store.Vectors,
    policy: RetrainPolicy,
    smoothing: Smoothing | None,
) -> tuple[TrainingSet, Trained]:
    """Train on the current labels, again if a class was deleted or merged meanwhile. Return the training set, too."""
    for _ in range(ATTEMPTS):
        training_set = read_training_set(dataset, vectors)
        _require_two_classes(dataset, training_set, store.MissingEmbeddings)
        X, training_set = gathered(vectors, training_set)
        _require_two_classes(
            dataset, training_set, Refusal
        )  # vectors that are not finite stay so: waiting would not help
        run.check()
        run.stage("Fitting and calibrating the model")
        trained = train(
            X,
            training_set.y,
            n_classes=len(training_set.class_ids),
            seed=SEED,
            start=_start(dataset, embedding_set, training_set.class_ids),
            class_weights=_class_weights(policy),
            method=_METHODS[policy.calibration],
            is_audit=training_set.is_audit,
            groups=training_set.holdout.groups(),
            smoothed=None if smoothing is None else smoothed_rows(smoothing, vectors.X, training_set.rows),
            on_progress=run.progress,
        )
        if still_in_use(dataset, training_set.class_ids):
            break
        run.stage("Reading labels again: a class was deleted or merged in the meantime")
    return training_set, _with_remarks(trained, training_set, X)


_METHODS: dict[str, Method] = {
    RetrainPolicy.Calibration.TEMPERATURE: "temperature",
    RetrainPolicy.Calibration.PLATT: "platt",
    RetrainPolicy.Calibration.VECTOR: "vector",
    RetrainPolicy.Calibration.NONE: "none",
}


def _class_weights(policy: RetrainPolicy) -> ClassWeights:
    return "balanced" if policy.class_weights == RetrainPolicy.Weights.BALANCED else "equal"


def _start(dataset: Dataset, embedding_set: EmbeddingSet, class_ids: list[int]) -> Head | None:
    """Return the newest classifier on these embeddings, if any, with its columns in the order of ``class_ids``."""
    made = ModelVersion.objects.filter(
        dataset=dataset, embedding_set=embedding_set, kind=ModelVersion.Kind.ASSISTIVE
    ).first()
    try:
        head = None if made is None else model_files.open_head(made)
    except store.StoreError:
        log.exception("The classifier of %s can't be read; training starts from scratch.", made)
        return None
    if made is None or head is None or head.weights.shape != (embedding_set.dim, len(made.class_ids)):
        return None
    weights = np.zeros((embedding_set.dim, len(class_ids)), np.float32)
    bias = np.full(len(class_ids), ABSENT_LOGIT, np.float32)
    for column, class_id in enumerate(class_ids):
        if class_id in made.class_ids:
            before = made.class_ids.index(class_id)
            weights[:, column], bias[column] = head.weights[:, before], head.bias[before]
    return Head(weights, bias, 0, True)


def _with_remarks(trained: Trained, training_set: TrainingSet, X: NDArray[np.float32]) -> Trained:
    """Add warnings about the labels to the calibration's note, and the groups to the metrics."""
    remarks: list[str] = []
    if training_set.n_without_vector:
        remarks.append(f"{training_set.n_without_vector} labeled images have no embedding and were left out")
    if (X[0] == X).all():
        remarks.append("all labeled images have the same embedding, so no class can be distinguished")
    remarks += filter(None, [training_set.holdout.remark()])
    metrics = trained.metrics | {"together": training_set.holdout.as_json()}
    return replace(trained, note="; ".join([trained.note, *remarks]), metrics=metrics)


def calibration_of(version: ModelVersion) -> Calibration:
    """Return the calibration that turns the logits of a version's classifier into probabilities."""
    return Calibration.of(version.calibration_method, version.temperature, version.calibration_params)


def _refuse_unlabeled(dataset: Dataset) -> None:
    """Refuse labels of fewer than two classes, before any computation."""
    labeled = list(LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0)[:2])
    if len(labeled) == 1:
        raise _one_class(labeled[0].name, labeled[0].n_items)
    if not labeled:
        raise Refusal("There are no labels yet.", hint="Label at least one image in each of two classes.")


def _one_class(name: str, n: int) -> Refusal:
    return Refusal(
        f"Only one class has labels: {name} ({n}).",
        hint="Label at least one image of another class: a model needs two classes.",
    )


def _require_two_classes(dataset: Dataset, training_set: TrainingSet, error: type[Refusal]) -> None:
    if len(training_set.class_ids) >= 2:
        return
    if training_set.n_without_vector:
        raise error(
            f"{training_set.n_without_vector} labeled images have no embedding yet; the others are of one class only.",
            hint=store.MissingEmbeddings.HINT,
        )
    if not training_set.class_ids:
        raise Refusal("There are no labels yet.", hint="Label at least one image in each of two classes.")
    name = LabelClass.objects.get(pk=training_set.class_ids[0]).name
    raise _one_class(name, len(training_set.y))


def _new_version(
    dataset: Dataset, embedding_set: EmbeddingSet, training_set: TrainingSet, trained: Trained, *, n_rows: int
) -> ModelVersion:
    newest = ModelVersion.objects.filter(dataset=dataset).aggregate(newest=Max("number"))["newest"] or 0
    return ModelVersion.objects.create(
        dataset=dataset,
        number=newest + 1,
        embedding_set=embedding_set,
        class_ids=training_set.class_ids,
        n_labels=len(training_set.y),
        n_rows=n_rows,
        n_decisions=training_set.n_decisions,
        calibration_method=trained.calibration.method,
        calibration_params=trained.calibration.params,
        temperature=trained.temperature,
        is_calibrated=trained.is_calibrated,
        calibration_note=trained.note,
        steps=trained.steps,
        metrics=trained.metrics,
    )


def predict_rows(
    run: Run, version: ModelVersion, vectors: store.Vectors, head: Head, smoothing: Smoothing | None
) -> None:
    """Write the version's probabilities for every row with an embedding."""
    n_rows, n_classes = len(vectors.X), len(version.class_ids)
    releaser = PageReleaser(vectors.X)

    def progress(done: int, total: int) -> None:
        releaser.release(done)
        run.progress(done, total)

    run.stage("Predicting every image", total=n_rows)
    with model_files.save_probabilities(version, n_rows, n_classes) as probabilities:
        predict_in_blocks(
            vectors.X,
            head,
            calibration_of(version),
            probabilities,
            valid=vectors.has,
            smoothing=smoothing,
            steps=version.steps,
            on_progress=progress,
        )


def summary(version: ModelVersion, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what ``retrain --json`` prints."""
    names = dict(LabelClass.objects.filter(pk__in=version.class_ids).values_list("pk", "name"))
    reported = ("accuracy", "accuracy_interval", "ece_before", "ece_after", "log_loss_before", "log_loss_after")
    return {
        "model_version": version.number,
        "labels": version.n_labels,
        "classes": [names[class_id] for class_id in version.class_ids],
        **{name: metrics.get(name) for name in reported},
        "temperature": version.temperature,
        "calibration": version.calibration_method,
        "calibrated": version.is_calibrated,
        "note": version.calibration_note,
        "smoothing_steps": version.steps,
        "together": metrics.get("together"),
        "seconds": round(version.seconds, 3),
    }
