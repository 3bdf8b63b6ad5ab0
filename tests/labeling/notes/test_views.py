"""The requests for tags and notes, of the grid and of the detail."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from hoshina.core.roles import Role
from labeling.models import Dataset, Item, ItemTag, Note
from tests.factories import MakeDataset, assert_contains, text
from tests.people import account

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(4)


def tag(client: Client, *rows: int, name: str = "m31", on: str = "1", **more: Any) -> Any:
    items = Item.objects.filter(row__in=rows).order_by("row").values_list("pk", flat=True)
    return client.post("/d/pictures/tags/", {"item": list(items), "tag": name, "on": on}, **more)


def test_the_grid_tags_several_items(client: Client, dataset: Dataset) -> None:
    answer = tag(client, 0, 2).json()
    assert [(item["tags"], item["flagged"], item["noted"]) for item in answer["items"]] == [(["m31"], False, False)] * 2
    assert client.get("/d/pictures/tags/").json() == {"tags": ["m31"]}
    tag(client, 0, name="flagged")
    assert tag(client, 0, 2, on="0").json()["items"][0]["tags"] == []
    assert client.get("/d/pictures/tags/").json() == {"tags": []}


@pytest.mark.parametrize(("rows", "name"), [((), "m31"), ((0,), ""), ((0,), "a,b"), ((0,), "x" * 50)])
def test_what_is_refused(client: Client, dataset: Dataset, rows: tuple[int, ...], name: str) -> None:
    response = tag(client, *rows, name=name)
    assert response.status_code == 400
    assert response.json()["error"]
    assert not ItemTag.objects.exists()


def test_items_that_are_no_numbers_are_refused(client: Client, dataset: Dataset) -> None:
    response = client.post("/d/pictures/tags/", {"item": ["x", "-1"], "tag": "m31"})
    assert response.status_code == 400


def test_the_detail_shows_and_changes_tags(client: Client, dataset: Dataset) -> None:
    assert_contains(client.get("/d/pictures/items/1/detail/"), "Add tag", 'aria-pressed="false"')
    response = tag(client, 1, name="flagged", headers=HTMX)
    item = Item.objects.get(row=1)
    assert_contains(response, "Flagged", f'id="item-notes-{item.pk}"')
    event = json.loads(response["HX-Trigger"])["hoshina:item-notes"]
    assert event == {"items": [{"id": item.pk, "flagged": True, "tags": [], "noted": False}]}
    assert_contains(tag(client, 1, name="<b>bold</b>", headers=HTMX), "&lt;b&gt;bold", lacks=["<b>bold"])
    refused = tag(client, 1, name="a;b", headers=HTMX)
    assert refused.status_code == 422
    assert_contains(refused, "no comma, semicolon or bar")


def test_notes_are_added_and_shown_to_everyone(client: Client, dataset: Dataset) -> None:
    ana, ben = account(Role.LABELER), User.objects.create_user("ben")
    client.force_login(ana)
    response = client.post("/d/pictures/items/2/notes/", {"text": "<i>odd</i>\nvery"})
    assert_contains(response, "&lt;i&gt;odd&lt;/i&gt;\nvery", ana.username, "Delete note", lacks=["<i>odd"])
    assert json.loads(response["HX-Trigger"])["hoshina:item-notes"]["items"][0]["noted"]
    client.force_login(ben)
    assert_contains(client.get("/d/pictures/items/2/notes/"), "very", lacks=["Delete note"])
    assert_contains(client.get("/d/pictures/items/2/"), "very")
    assert client.post("/d/pictures/items/2/notes/", {"text": " "}).status_code == 422
    assert client.post("/d/pictures/items/9/notes/", {"text": "x"}).status_code == 404
    assert client.get(f"/d/pictures/items/{2**63}/notes/").status_code == 404


def test_only_the_author_or_a_manager_deletes_a_note(client: Client, dataset: Dataset) -> None:
    client.force_login(account(Role.LABELER))
    for content in ("first", "second"):
        client.post("/d/pictures/items/2/notes/", {"text": content})
    first, second = Note.objects.order_by("pk")
    client.force_login(User.objects.create_user("ben"))
    assert client.post(f"/d/pictures/notes/{first.pk}/delete/", headers=HTMX).status_code == 403
    client.force_login(account(Role.MANAGER))
    response = client.post(f"/d/pictures/notes/{first.pk}/delete/", headers=HTMX)
    assert_contains(response, "second", lacks=["first"])
    client.force_login(User.objects.get(pk=second.author_id))
    client.post(f"/d/pictures/notes/{second.pk}/delete/", headers=HTMX)
    assert not Note.objects.exists()


def test_notes_of_another_dataset_are_not_found(client: Client, dataset: Dataset, make_dataset: MakeDataset) -> None:
    make_dataset(1, name="other")
    client.post("/d/pictures/items/0/notes/", {"text": "x"})
    note = Note.objects.get()
    assert client.post(f"/d/other/notes/{note.pk}/delete/").status_code == 404


def test_tiles_show_what_people_remarked(client: Client, dataset: Dataset) -> None:
    tag(client, 1, name="flagged")
    tag(client, 1, 2, name='a"b')
    client.post("/d/pictures/items/3/notes/", {"text": "x"})
    page = text(client.get("/d/pictures/grid/?queue=all"))
    tiles = page.split('<div class="tile"')[1:]
    assert "tile-notes" not in tiles[0]
    assert_contains(
        tiles[1], " data-flagged", 'data-tags="a&quot;b"', "#i-flag", "#i-tag", ", flagged, tagged a&quot;b"
    )
    assert_contains(tiles[2], "#i-tag", lacks=["#i-flag", "data-noted"])
    assert_contains(tiles[3], " data-noted", "#i-note", ", has a note")
