"""Provide what endpoints share: types of parameters, and how datasets and classes are found.

Requests and answers are models of pydantic. django-ninja's own class for them looks every attribute up in Python, which
takes three times as long for a page of items.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from django.core.exceptions import PermissionDenied
from django.http import Http404
from ninja import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, may
from labeling.models import Dataset, Item, LabelClass, State

# The largest id that a database holds, less a margin for arithmetic.
LARGEST = 2**62
StateName = Literal["unlabelled", "labelled", "unsure", "skipped"]
STATES = {state.label: state for state in State}


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("Send text without a NUL character.")
    return text


Text = Annotated[str, AfterValidator(_without_nul), Field(max_length=4000)]
Id = Annotated[int, Field(ge=0, le=LARGEST)]
Slug = Annotated[str, Path(description="The name of the dataset in addresses.")]
ItemId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the item.")]


class Strict(BaseModel):
    """Represent a body in which unknown names are refused, so that a misspelled option is noticed."""

    model_config = ConfigDict(extra="forbid")


class ClassRef(BaseModel):
    """Represent a class by id and name."""

    class_id: int
    class_name: str


class Guess(ClassRef):
    """Represent a predicted class and its calibrated probability."""

    probability: float


def dataset_of(slug: str) -> Dataset:
    """Return the dataset with this slug. Raises Http404."""
    found = Dataset.objects.present().filter(slug=slug).first()
    if found is None:
        raise Http404(f"There is no dataset {slug!r}.")
    return found


def item_of(slug: str, item_id: int) -> Item:
    """Return the item with this id. Raises Http404."""
    dataset = dataset_of(slug)
    found = Item.objects.of(dataset).filter(pk=item_id).first()
    if found is None:
        raise Http404(f"There is no item {item_id} in this dataset.")
    found.dataset = dataset
    return found


def class_id_of(dataset: Dataset, class_id: int | None, name: str | None, field: str = "class_name") -> int | None:
    """Return the id of the class that is given by id or by name; None if it is given by neither. Raises Refusal."""
    if class_id is None and name is None:
        return None
    classes = LabelClass.objects.active().filter(dataset=dataset)
    found = classes.filter(pk=class_id) if class_id is not None else classes.filter(name=name)
    pk = found.values_list("pk", flat=True).first()
    if pk is None:
        called = f"the id {class_id}" if class_id is not None else f"the name {name!r}"
        names = ", ".join(classes.values_list("name", flat=True)[:20])
        raise Refusal(f"There is no class with {called}.", f"The classes are: {names}." if names else "", field=field)
    return pk


def state_name(state: int) -> StateName:
    """Return the name of a state in lists, filters and exports."""
    return cast("StateName", State(state).label)


def require(request: HtmxHttpRequest, role: Role) -> None:
    """Raise PermissionDenied unless the person has the role."""
    if not may(request.user, role):
        raise PermissionDenied(role.refusal)


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


JsonObject = dict[str, Any]
