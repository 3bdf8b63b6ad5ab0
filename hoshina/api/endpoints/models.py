"""List model versions, and activate one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from hoshina.api.common import LARGEST, ClassRef, Id, JsonObject, Slug, dataset_of
from hoshina.core.http import HtmxHttpRequest
from labeling.models import Dataset, LabelClass
from modeling.models import ModelVersion
from modeling.versions import active as active_version
from modeling.versions.audited_accuracy import audited

router = Router(tags=["Models"])
Number = Annotated[int, Path(ge=0, le=LARGEST, description="The number of the version.")]


class ModelOut(BaseModel):
    """Represent a model version."""

    number: int
    kind: str
    is_active: bool = Field(description="Its predictions are those of queues, lists and pages.")
    is_chosen: bool = Field(description="A person chose it: automatic retraining is paused.")
    n_labels: int = Field(description="Labels that it was trained on.")
    encoder: str | None
    is_calibrated: bool
    calibration: str
    accuracy: float | None = Field(description="On held-out labels.")
    accuracy_interval: list[float] | None
    audited_accuracy: float | None = Field(description="On the whole dataset, by randomly drawn images.")
    audited_interval: list[float] | None
    seconds: float
    created_at: datetime


class ModelDetail(ModelOut):
    """Represent a model version with its classes and measurements."""

    classes: list[ClassRef]
    options: JsonObject
    metrics: JsonObject


class ModelQuery(BaseModel):
    """Which versions to list."""

    limit: int = Field(50, ge=1, le=200)
    before: Id | None = Field(None, description="Only versions with a smaller number.")


class Activated(BaseModel):
    """Tell what an activation did."""

    model: ModelOut
    job: UUID | None = Field(description="The job that computes its predictions first; null if it is active now.")


@router.get("/datasets/{slug:slug}/models", url_name="models", response=list[ModelOut], summary="List models")
def models(request: HtmxHttpRequest, slug: Slug, query: Query[ModelQuery]) -> list[ModelOut]:
    """Return model versions, newest first."""
    dataset = dataset_of(slug)
    versions = _versions(dataset)
    if query.before is not None:
        versions = versions.filter(number__lt=query.before)
    return [ModelOut(**described) for described in _described(dataset, list(versions[: query.limit]))]


@router.get(
    "/datasets/{slug:slug}/models/{number:number}", url_name="model", response=ModelDetail, summary="Get a model"
)
def model(request: HtmxHttpRequest, slug: Slug, number: Number) -> ModelDetail:
    """Return one version with its classes, options and metrics."""
    dataset = dataset_of(slug)
    version = _version(dataset, number)
    names = dict(LabelClass.objects.filter(dataset=dataset).values_list("pk", "name"))
    classes = [ClassRef(class_id=class_id, class_name=names.get(class_id, "")) for class_id in version.class_ids]
    (described,) = _described(dataset, [version])
    return ModelDetail(**described, classes=classes, options=version.options, metrics=version.metrics)


@router.post(
    "/datasets/{slug:slug}/models/{number:number}/activate", url_name="model_activate", response=Activated,
    summary="Activate a model",
)  # fmt: skip
def activate_model(request: HtmxHttpRequest, slug: Slug, number: Number) -> Activated:
    """Activate a version, and pause automatic retraining; where its predictions are missing, after a job."""
    dataset = dataset_of(slug)
    version = _version(dataset, number)
    job = active_version.choose(version, user=request.user)
    version.refresh_from_db()
    (described,) = _described(dataset, [version])
    return Activated(model=ModelOut(**described), job=job.pk if job else None)


@router.post(
    "/datasets/{slug:slug}/models/release", url_name="model_release", response={204: None}, summary="Resume retraining"
)
def release_model(request: HtmxHttpRequest, slug: Slug) -> None:
    """Resume automatic retraining after a version was chosen; the active version stays until there is a newer one."""
    active_version.release(dataset_of(slug))


def _version(dataset: Dataset, number: int) -> ModelVersion:
    found = _versions(dataset).filter(number=number).first()
    if found is None:
        raise Http404(f"There is no model {number} in this dataset.")
    return found


def _versions(dataset: Dataset) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(dataset=dataset).select_related("embedding_set").order_by("-number")


def _described(dataset: Dataset, versions: Sequence[ModelVersion]) -> list[JsonObject]:
    accuracies = audited(dataset.pk, [version.pk for version in versions])
    described = []
    for version in versions:
        names = ("number", "kind", "is_active", "is_chosen", "n_labels", "is_calibrated", "seconds", "created_at")
        measured = accuracies.get(version.pk)
        described.append(
            {name: getattr(version, name) for name in names}
            | {
                "encoder": version.embedding_set.encoder if version.embedding_set else None,
                "calibration": version.calibration_method,
                "accuracy": version.metrics.get("accuracy"),
                "accuracy_interval": version.metrics.get("accuracy_interval"),
                "audited_accuracy": measured.value if measured else None,
                "audited_interval": [measured.low, measured.high] if measured else None,
            }
        )
    return described
