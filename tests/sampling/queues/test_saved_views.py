"""Names for queues with filters: saved, listed, opened, deleted, and what is refused."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client

from hoshina.core.roles import Role
from labeling.decisions import classes
from labeling.models import Dataset, Item, LabelClass
from labeling.notes.tags import tag_items
from sampling.models import SavedView
from sampling.queues import saved_views
from sampling.queues.saved_views import describe
from tests.factories import MakeDataset, assert_contains, text
from tests.people import account

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("ranked_at_once")]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(6)
    tag_items(dataset, [Item.objects.get(row=2).pk], "m31", None, is_on=True)
    return dataset


def save(client: Client, name: str, query: str, slug: str = "pictures") -> Any:
    return client.post(f"/d/{slug}/views/save/", {"name": name, "query": query}, headers={"HX-Request": "true"})


def test_a_view_is_saved_listed_and_opened(client: Client, dataset: Dataset) -> None:
    form = client.get(
        "/d/pictures/views/save/",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/d/pictures/?queue=all&tag=m31&row=3"},
    )
    assert_contains(form, "All, tagged m31", 'value="queue=all&amp;tag=m31&amp;row=3"')
    response = save(client, "  the  Andromeda ", "queue=all&tag=m31&sort=&order=descending&row=3&window=x&projection=1")
    assert json.loads(response["HX-Trigger"]) == {"hoshina:views": {"saved": "the Andromeda"}}
    view = SavedView.objects.get()
    assert QueryDict(view.query).dict() == {"queue": "all", "tag": "m31", "order": "descending"}
    menu = text(client.get("/d/pictures/queues/"))
    assert_contains(menu, "the Andromeda", f'href="/d/pictures/?{view.query.replace("&", "&amp;")}"', "Delete the view")
    assert text(client.get(f"/d/pictures/grid/?{view.query}")).count('<div class="tile"') == 1


def test_everything_that_narrows_a_queue_is_kept(client: Client, dataset: Dataset) -> None:
    query = (
        "queue=similar&to=1,2&of=&state=labelled&label=1&predicted=2&flagged=1&noted=1&note=x&path=a&rows=1,2&seed=3"
    )
    assert save(client, "all of it", query).status_code == 200
    stored = QueryDict(SavedView.objects.get().query)
    expected = QueryDict(query, mutable=True)
    del expected["of"]
    assert {name: value for name, value in stored.items() if value} == expected.dict()


@pytest.mark.parametrize(
    ("name", "query", "problem"),
    [
        ("", "queue=all", "at most 60"),
        ("x" * 61, "queue=all", "at most 60"),
        ("Taken", "queue=all", "already a view"),
        ("new", "queue=nothing", "no such queue"),
        ("new", "queue=all&state=odd", "state must be"),
        ("new", "queue=all&rows=x", "rows must be"),
        ("new", "queue=all&label=x", "whole number"),
        ("new", "queue=all&f.mass=3", "no field"),
        ("new", "queue=band&low=x", "Give a number"),
        ("new", "queue=all&path=" + "x" * 201, "at most 200"),
        ("new", "queue=similar&to=" + ",".join(map(str, range(2000))), "too many filters"),
    ],
)
def test_what_is_refused(client: Client, dataset: Dataset, name: str, query: str, problem: str) -> None:
    save(client, "taken", "queue=random")
    response = save(client, name, query)
    assert response.status_code == 422
    assert problem in text(response).replace("&#x27;", "'")
    assert SavedView.objects.count() == 1


def test_names_are_unique_in_a_dataset_only(client: Client, dataset: Dataset, make_dataset: MakeDataset) -> None:
    make_dataset(1, name="other")
    for slug in ("pictures", "other"):
        assert save(client, "mine", "queue=all", slug).status_code == 200
    assert SavedView.objects.count() == 2


def test_there_are_not_too_many(client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "MOST_VIEWS", 1)
    save(client, "first", "queue=all")
    assert "Delete one first" in text(save(client, "second", "queue=all"), 422)


def test_only_its_owner_or_a_manager_deletes_a_view(client: Client, dataset: Dataset) -> None:
    labeler, other = account(Role.LABELER), User.objects.create_user("ben")
    client.force_login(labeler)
    save(client, "first", "queue=all")
    save(client, "second", "queue=all")
    first, second = SavedView.objects.all()
    client.force_login(other)
    menu = text(client.get("/d/pictures/queues/"))
    assert "first" in menu
    assert "Delete the view" not in menu
    assert client.post(f"/d/pictures/views/{first.pk}/delete/").status_code == 403
    client.force_login(labeler)
    assert client.post(f"/d/pictures/views/{first.pk}/delete/").status_code == 204
    client.force_login(account(Role.MANAGER))
    assert client.post(f"/d/elsewhere/views/{second.pk}/delete/").status_code == 404
    assert client.post(f"/d/pictures/views/{second.pk}/delete/").status_code == 204
    assert not SavedView.objects.exists()


def test_a_view_of_a_class_that_is_gone_says_so(client: Client, dataset: Dataset) -> None:
    cat, dog = LabelClass.objects.order_by("name")
    save(client, "cats", f"queue=all&label={cat.pk}")
    classes.merge(cat, dog, user=None)
    form = text(client.get(f"/d/pictures/queues/?{SavedView.objects.get().query}"))
    assert_contains(form, f'<option value="{cat.pk}" selected>cat</option>', "The class cat was merged into dog")
    classes.delete(dog, user=None)
    assert "The class dog was deleted" in text(client.get(f"/d/pictures/queues/?queue=all&label={dog.pk}"))
    assert "This class does not exist" in text(client.get("/d/pictures/queues/?queue=all&label=12345"))


def test_a_view_is_described(dataset: Dataset) -> None:
    query = QueryDict(
        "queue=random&state=any&label=1&map=1&region=1-1_2-2_3-1&path=a&flagged=1&note=b&tag=c&f.mass=2..5"
    )
    assert describe(query) == (
        "Random, any, one class, region of the map, path a, flagged, with a note, tagged c, mass 2..5"
    )
    assert describe(QueryDict("queue=gone&rows=x")) == "gone"
    assert describe(QueryDict("queue=all&differ=1-2&right=first&predicted=3")) == (
        "All, one predicted class, held-out predictions"
    )
