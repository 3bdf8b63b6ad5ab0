"""Retrain the assistive model: labels and vectors in, a calibrated model version with every probability out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Max
from numpy.typing import NDArray

from hoshina.jobs.errors import JobError
from hoshina.jobs.runner import Run
from labeling.models import Dataset, Item, LabelClass, State
from modeling import model_files, signals, store, versions
from modeling.algorithms.head import predict_in_blocks
from modeling.algorithms.train import Trained, train
from modeling.models import EmbeddingSet, ModelVersion

SEED = 0


@dataclass(frozen=True)
class Lessons:
    """What a model learns from: rows (n,) and classes (n,) as positions in ``class_ids``."""

    rows: NDArray[np.int64]
    y: NDArray[np.int64]
    class_ids: list[int]
    n_decisions: int
    n_without_vector: int


def retrain(run: Run) -> dict[str, Any]:
    """Fit, calibrate, predict every item, and make the new version the active one."""
    started = time.perf_counter()
    dataset = Dataset.objects.get(pk=run.dataset_id)
    run.stage("Reading labels and vectors")
    embedding_set, vectors = _vectors(dataset)
    lessons = read_lessons(dataset, vectors)
    _refuse_too_little(dataset, lessons)
    run.check()

    run.stage("Fitting and calibrating the model")
    X = np.ascontiguousarray(vectors.X[lessons.rows])
    trained = train(
        X,
        lessons.y,
        n_classes=len(lessons.class_ids),
        seed=SEED,
        on_progress=run.progress,
    )

    version = _new_version(dataset, embedding_set, lessons, trained, n_rows=len(vectors.X))
    try:
        model_files.save_head(version, trained.head)
        _predict(run, version, vectors, trained)
        if trained.held_out is not None:
            model_files.save_held_out(version, model_files.HeldOut(lessons.rows, lessons.y, trained.held_out))
    except BaseException:
        model_files.delete_files(version)
        version.delete()
        raise
    versions.activate(version, seconds=time.perf_counter() - started)
    signals.trained.send(sender=ModelVersion, version=version)
    return summary(version, trained.metrics)


def read_lessons(dataset: Dataset, vectors: store.Vectors) -> Lessons:
    """The labelled items that have a vector; their classes in the order of the class list."""
    n_decisions = Dataset.objects.values_list("n_decisions", flat=True).get(pk=dataset.pk)
    labelled = Item.objects.filter(dataset=dataset, state=State.LABELLED).order_by("row")
    pairs = np.array(list(labelled.values_list("row", "label_id")), dtype=np.int64).reshape(-1, 2)
    usable = pairs[:, 0] < len(vectors.has)
    usable[usable] = vectors.has[pairs[usable, 0]]
    rows, label_ids = pairs[usable].T
    present = set(label_ids.tolist())
    ordered = LabelClass.objects.filter(dataset=dataset, pk__in=present).values_list("pk", flat=True)
    class_ids = list(ordered)
    position = {label_id: column for column, label_id in enumerate(class_ids)}
    y = np.array([position[label_id] for label_id in label_ids.tolist()], dtype=np.int64)
    return Lessons(rows, y, class_ids, n_decisions, int((~usable).sum()))


def _vectors(dataset: Dataset) -> tuple[EmbeddingSet, store.Vectors]:
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    try:
        vectors = store.open_vectors(embedding_set) if embedding_set else None
    except store.StoreError as damaged:
        raise JobError(damaged.message, hint=damaged.hint) from damaged
    if embedding_set is None or vectors is None:
        raise JobError(
            "There are no vectors of these images yet.",
            hint="Wait until the images are embedded (see the running jobs), or run manage.py embed.",
        )
    return embedding_set, vectors


def _refuse_too_little(dataset: Dataset, lessons: Lessons) -> None:
    if len(lessons.class_ids) >= 2:
        return
    if lessons.n_without_vector:
        raise JobError(
            f"{lessons.n_without_vector} labelled images have no vector yet, and the others do not make two classes.",
            hint="Wait until the images are embedded (see the running jobs), or run manage.py embed.",
        )
    if not lessons.class_ids:
        raise JobError("Nothing is labelled yet.", hint="Label at least one image in each of two classes.")
    name = LabelClass.objects.get(pk=lessons.class_ids[0]).name
    raise JobError(
        f"Only one class has labels: {name} ({len(lessons.y)}).",
        hint="Label at least one image of another class: a model needs two to tell apart.",
    )


def _new_version(
    dataset: Dataset, embedding_set: EmbeddingSet, lessons: Lessons, trained: Trained, *, n_rows: int
) -> ModelVersion:
    newest = ModelVersion.objects.filter(dataset=dataset).aggregate(newest=Max("number"))["newest"] or 0
    return ModelVersion.objects.create(
        dataset=dataset,
        number=newest + 1,
        embedding_set=embedding_set,
        class_ids=lessons.class_ids,
        n_labels=len(lessons.y),
        n_rows=n_rows,
        n_decisions=lessons.n_decisions,
        temperature=trained.temperature,
        is_calibrated=trained.is_calibrated,
        calibration_note=trained.note,
        metrics=trained.metrics,
    )


def _predict(run: Run, version: ModelVersion, vectors: store.Vectors, trained: Trained) -> None:
    n_rows, n_classes = len(vectors.X), len(version.class_ids)
    run.stage("Predicting every image", total=n_rows)
    with model_files.save_probabilities(version, n_rows, n_classes) as probabilities:
        predict_in_blocks(
            vectors.X,
            trained.head,
            trained.temperature,
            probabilities,
            valid=vectors.has,
            on_progress=run.progress,
        )


def summary(version: ModelVersion, metrics: dict[str, Any]) -> dict[str, Any]:
    """What ``retrain --json`` prints."""
    names = dict(LabelClass.objects.filter(pk__in=version.class_ids).values_list("pk", "name"))
    told = ("accuracy", "accuracy_interval", "ece_before", "ece_after", "log_loss_before", "log_loss_after")
    return {
        "model_version": version.number,
        "labels": version.n_labels,
        "classes": [names[class_id] for class_id in version.class_ids],
        **{name: metrics.get(name) for name in told},
        "temperature": version.temperature,
        "calibrated": version.is_calibrated,
        "note": version.calibration_note,
        "seconds": round(version.seconds, 3),
    }
