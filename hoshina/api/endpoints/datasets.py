"""List datasets and their classes, add and change classes, and tell a program who it acts for."""

from __future__ import annotations

from typing import Annotated

from django.http import Http404
from ninja import Path, Router, Status
from pydantic import BaseModel, Field

from hoshina.api.common import LARGEST, JsonObject, Slug, Strict, Text, dataset_of
from hoshina.api.models import Token
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, may
from labeling.decisions import classes
from labeling.exporting.version import app_version
from labeling.models import Dataset, LabelClass
from labeling.models import Field as MetadataField
from modeling.models import EmbeddingSet
from modeling.predictions import active_model

router = Router(tags=["Datasets"])
ClassId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the class.")]


class Me(BaseModel):
    """Who requests, and what they may do."""

    user: str
    role: str
    token: str | None = Field(description="The name of the token; null for a session.")
    scope: str
    version: str = Field(description="The version of HOSHINA.")


class DatasetOut(BaseModel):
    """Represent a dataset and its counts."""

    slug: str
    name: str
    is_archived: bool
    n_items: int
    n_missing: int = Field(description="Items whose file is missing or can no longer be read.")
    n_labelled: int
    n_unsure: int
    n_skipped: int
    n_left: int = Field(description="Items without a decision.")


class FieldOut(BaseModel):
    """Represent a field of metadata."""

    name: str
    kind: str
    n_known: int


class EmbeddingsOut(BaseModel):
    """Hold the embeddings in use."""

    encoder: str
    dim: int
    n_vectors: int


class DatasetDetail(DatasetOut):
    """Represent a dataset with what belongs to it."""

    description: str
    license: str
    citation: str
    roles: list[str] = Field(description="Of items with several files: the role of each file.")
    fields: list[FieldOut]
    model_version: int | None = Field(description="The number of the active model.")
    embeddings: EmbeddingsOut | None


class ClassOut(BaseModel):
    """Represent a class and its number of labels."""

    id: int
    name: str
    color: str
    key: str
    n_items: int


class ClassIn(Strict):
    """Represent a class to be added."""

    name: Text
    color: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")] | None = None


class ClassChange(Strict):
    """Define what to change of a class; what is not sent stays."""

    name: Text | None = None
    color: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")] | None = None
    key: Annotated[str, Field(pattern="^[1-9a-z]?$")] | None = Field(
        None, description="The key that labels with it: 1 to 9, a to z, or empty for none."
    )
    swap: bool = Field(False, description="If another class has the key: give that one the key of this class.")


@router.get("/me", url_name="me", response=Me, summary="Who am I")
def me(request: HtmxHttpRequest) -> Me:
    """Return the account, its role, and the scope of the token."""
    token = Token.objects.filter(pk=request.bearer).first() if getattr(request, "bearer", "") else None
    role = next((role for role in reversed(Role) if may(request.user, role)), None)
    return Me(
        user=request.user.get_username(),
        role=role.name.lower() if role else "none",
        token=token.name if token else None,
        scope=token.scope if token else Token.Scope.WRITE,
        version=app_version(),
    )


@router.get("/datasets", url_name="datasets", response=list[DatasetOut], summary="List datasets")
def datasets(request: HtmxHttpRequest) -> list[DatasetOut]:
    """Return all datasets by name, archived ones included."""
    return [DatasetOut(**_counts(dataset)) for dataset in Dataset.objects.present()]


@router.get("/datasets/{slug:slug}", url_name="dataset", response=DatasetDetail, summary="Get a dataset")
def dataset(request: HtmxHttpRequest, slug: Slug) -> DatasetDetail:
    """Return one dataset with its fields, its active model and its embeddings."""
    found = dataset_of(slug)
    model = active_model(found)
    vectors = EmbeddingSet.objects.filter(dataset=found, is_active=True, generation__gt=0).first()
    return DatasetDetail(
        **_counts(found),
        description=found.description,
        license=found.license,
        citation=found.citation,
        roles=list(found.roles),
        fields=[
            FieldOut(name=field.name, kind=field.kind, n_known=field.n_known)
            for field in MetadataField.objects.filter(dataset=found)
        ],
        model_version=model.number if model else None,
        embeddings=EmbeddingsOut(encoder=vectors.encoder, dim=vectors.dim, n_vectors=vectors.n_vectors)
        if vectors
        else None,
    )


def _counts(dataset: Dataset) -> JsonObject:
    names = ("slug", "name", "n_items", "n_missing", "n_labelled", "n_unsure", "n_skipped", "n_left")
    return {name: getattr(dataset, name) for name in names} | {"is_archived": dataset.archived_at is not None}


@router.get("/datasets/{slug:slug}/classes", url_name="classes", response=list[ClassOut], summary="List classes")
def class_list(request: HtmxHttpRequest, slug: Slug) -> list[ClassOut]:
    """Return the classes in the order of the page."""
    return [_class(label) for label in LabelClass.objects.active().filter(dataset=dataset_of(slug))]


@router.post("/datasets/{slug:slug}/classes", url_name="classes", response={201: ClassOut}, summary="Add a class")
def add_class(request: HtmxHttpRequest, slug: Slug, body: ClassIn) -> Status[ClassOut]:
    """Add a class at the end of the list, with the next free key, and a color of its own unless one is given."""
    try:
        added = classes.add(dataset_of(slug), body.name, colour=body.color or "", user=request.user)
    except Refusal as refusal:
        refusal.field = refusal.field or "name"
        raise
    return Status(201, _class(added))


@router.patch(
    "/datasets/{slug:slug}/classes/{number:pk}", url_name="class", response=ClassOut, summary="Change a class"
)  # fmt: skip
def change_class(request: HtmxHttpRequest, slug: Slug, pk: ClassId, body: ClassChange) -> ClassOut:
    """Change the name, color or key of a class. Its labels stay."""
    label = LabelClass.objects.active().filter(dataset=dataset_of(slug), pk=pk).first()
    if label is None:
        raise Http404(f"There is no class {pk} in this dataset.")
    key = label.key_name if body.key is None else body.key
    changed = classes.edit(
        label,
        name=label.name if body.name is None else body.name,
        colour=body.color or label.colour,
        key=int(key) if key.isdigit() else None,
        letter="" if key.isdigit() else key,
        swap=body.swap,
        user=request.user,
    )
    return _class(changed)


def _class(label: LabelClass) -> ClassOut:
    return ClassOut(id=label.pk, name=label.name, color=label.colour, key=label.key_name, n_items=label.n_items)
