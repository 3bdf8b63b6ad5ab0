"""Leases: nobody labels what somebody else looks at, and nobody is locked out by themselves."""

from datetime import timedelta

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from labeling.models import Dataset, Item, Lease
from tests.factories import MakeDataset, assert_contains
from tests.people import person
from tests.sampling.factories import add_model, tile_rows, two_class
from tests.sampling.served import label_tiles

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
GRID = "/d/pictures/grid/?queue=random"


def post(client: Client, what: str, **fields: str) -> int:
    return client.post(f"/d/pictures/leases/{what}/", fields).status_code


def test_two_people_never_get_the_same_items(make_dataset: MakeDataset) -> None:
    make_dataset(40)
    ana, bob = person("ana"), person("bob")
    first, second = tile_rows(ana.get(f"{GRID}&n=15")), tile_rows(bob.get(f"{GRID}&n=15"))
    assert len(first) == len(second) == 15
    assert not set(first) & set(second)
    third = tile_rows(person("cleo").get(f"{GRID}&n=15"))
    assert len(third) == 10
    assert tile_rows(ana.get(f"{GRID}&n=15&seed=1")), "one's own leases are no obstacle to a fresh pull"
    assert set(Lease.objects.values_list("user__username", flat=True)) == {"ana", "bob", "cleo"}


def test_nine_browsers_that_only_looked_do_not_lock_out_the_tenth(make_dataset: MakeDataset) -> None:
    """Without signing in they are all the one local user; each had been closed without a word."""
    make_dataset(441)
    seen: list[int] = []
    for number in range(9):
        seen += tile_rows(Client().get(f"{GRID}&n=49&window=w{number}"))
    assert sorted(seen) == list(range(441)), "each window showed others, as long as there were any"
    assert Lease.objects.count() == 441
    tenth = Client()
    page = tenth.get(f"{GRID}&n=60&window=w9")
    assert len(tile_rows(page)) == 60
    more = tile_rows(tenth.get(f"{page.context['page'].next_url}&window=w9"))
    assert len(more) == 60
    assert not set(more) & set(tile_rows(page)), "and it goes on from there"


def test_two_windows_of_one_browser_show_different_images(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(20)
    one = tile_rows(client.get(f"{GRID}&n=8&window=a"))
    two = tile_rows(client.get(f"{GRID}&n=8&window=b"))
    assert len(one) == len(two) == 8
    assert not set(one) & set(two)
    four_left = tile_rows(client.get(f"{GRID}&n=8&window=c"))
    assert len(four_left) == 4
    assert len(tile_rows(client.get(f"{GRID}&n=8&window=d"))) == 8, "what the other windows show, before nothing"


def test_a_person_in_two_browsers_loses_nothing(make_dataset: MakeDataset) -> None:
    """Both show the same last images; what the first one labeled stays, and the second is told so."""
    dataset = make_dataset(3)
    home, work = person("ana"), person("ana")
    first = home.get(f"{GRID}&window=a").context["page"].tiles
    second = work.get(f"{GRID}&window=b").context["page"].tiles
    assert {tile.item.pk for tile in first} == {tile.item.pk for tile in second}
    assert label_tiles(home, dataset, first, "cat")["results"][0]["conflicts"] == []
    conflicts = label_tiles(work, dataset, second, "dog")["results"][0]["conflicts"]
    assert len(conflicts) == 3
    assert set(Item.objects.values_list("label__name", flat=True)) == {"cat"}


def test_asking_for_something_else_frees_what_was_shown(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(30)
    add_model(dataset, two_class(np.linspace(0.5, 1, 30).tolist()))
    ana = person("ana")
    first = tile_rows(ana.get(f"{GRID}&n=10&window=a"))
    ana.get("/d/pictures/grid/?queue=all&n=10&window=a")
    assert not Lease.objects.exists()
    assert set(tile_rows(person("bob").get(f"{GRID}&n=30"))) >= set(first)


def test_leaving_the_page_frees_what_it_showed_and_no_other_window(make_dataset: MakeDataset) -> None:
    make_dataset(30)
    ana = person("ana")
    one = tile_rows(ana.get(f"{GRID}&n=10&window=a"))
    two = tile_rows(ana.get(f"{GRID}&n=10&window=b"))
    assert post(ana, "release", window="a") == 204
    held = set(Lease.objects.values_list("item__row", flat=True))
    assert held == set(two)
    assert not held & set(one)
    assert post(person("bob"), "release", window="b") == 204
    assert Lease.objects.count() == 10, "the name of a window means nothing in another browser"


def test_a_page_that_is_not_shown_after_all_is_given_back_alone(make_dataset: MakeDataset) -> None:
    make_dataset(30)
    ana = person("ana")
    shown = ana.get(f"{GRID}&n=10&window=a").context["page"]
    ahead = ana.get(f"{shown.next_url}&window=a").context["page"]
    dropped = ",".join(str(tile.item.pk) for tile in ahead.tiles)
    assert post(person("bob"), "release", window="b", items=dropped) == 204
    assert Lease.objects.count() == 20, "these are not of bob's window"
    assert post(ana, "release", window="a", items=dropped) == 204
    assert set(Lease.objects.values_list("item_id", flat=True)) == {tile.item.pk for tile in shown.tiles}
    assert post(ana, "release", window="a", items="1,x") == 400
    assert Lease.objects.count() == 10


def test_an_expired_lease_frees_its_item(make_dataset: MakeDataset) -> None:
    make_dataset(5)
    person("ana").get(f"{GRID}&n=5")
    bob = person("bob")
    assert tile_rows(bob.get(f"{GRID}&n=5")) == []
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert len(tile_rows(bob.get(f"{GRID}&n=5"))) == 5


def test_activity_renews_the_leases_of_the_window(make_dataset: MakeDataset) -> None:
    make_dataset(20)
    ana = person("ana")
    ana.get(f"{GRID}&n=5&window=a")
    ana.get(f"{GRID}&n=5&window=b")
    soon = timezone.now() + timedelta(minutes=1)
    Lease.objects.update(expires_at=soon)
    assert post(ana, "renew", window="a") == 204
    assert Lease.objects.filter(expires_at__gt=soon).count() == 5


def test_a_page_that_comes_back_leases_what_is_still_free(make_dataset: MakeDataset) -> None:
    """The browser's Back shows the page as it was, whose leases ended when it was left."""
    dataset = make_dataset(6)
    ana, bob = person("ana"), person("bob")
    shown = [tile.item for tile in ana.get(f"{GRID}&n=4&window=a").context["page"].tiles]
    post(ana, "release", window="a")
    Lease.objects.create(
        item=shown[0], dataset=dataset, user=get_user_model().objects.get(username="bob"), holder="b",
        expires_at=timezone.now() + timedelta(minutes=5),
    )  # fmt: skip
    other = Dataset.objects.create(name="other", slug="other", root="/other")
    elsewhere = Item.objects.create(dataset=other, row=0, path="x.png")
    assert post(ana, "renew", window="a", items=",".join(str(item.pk) for item in [*shown, elsewhere])) == 204
    assert Lease.objects.filter(user__username="ana").count() == 3
    assert not set(tile_rows(bob.get(f"{GRID}&n=6"))) & {item.row for item in shown[1:]}


@pytest.mark.parametrize("items", ["x", "1,-2", "1.5", ",".join(["1"] * 501), "9" * 30])
def test_what_is_no_list_of_items_is_refused(make_dataset: MakeDataset, client: Client, items: str) -> None:
    make_dataset(1)
    assert post(client, "renew", items=items) == 400


def test_it_is_said_who_holds_what_and_until_when(make_dataset: MakeDataset) -> None:
    make_dataset(5)
    person("ana").get(f"{GRID}&n=4")
    cleo = person("cleo")
    cleo.get(f"{GRID}&n=1")
    bob = person("bob")
    text = bob.get(f"{GRID}&n=5").content.decode()
    until = timezone.now() + timedelta(minutes=15)
    assert "No images available right now" in text
    assert f'<b>ana</b>: 4 images, until <time datetime="{until:%Y-%m-%dT%H:}' in text
    assert_contains(text, "<b>cleo</b>: 1 image, until", "Others are labeling the remaining images.")
    assert "data-take-back" not in text, "nothing of it is bob's"


def test_what_the_other_windows_of_a_person_hold_can_be_taken_back(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    add_model(dataset, two_class([0.5, 0.5, 0.5, 0.9, 0.9, 0.9]))
    person("ana").get(f"{GRID}&n=3")
    bob = person("bob")
    bob.get(f"{GRID}&n=3&window=a")
    text = bob.get("/d/pictures/grid/?queue=band&low=0&high=0.1&window=b").content.decode()
    assert_contains(text, "<b>You</b>, in another window: 3 images, until", "<b>ana</b>: 3 images", "data-take-back")
    assert post(bob, "release", window="b", all="1") == 204
    assert set(Lease.objects.values_list("user__username", flat=True)) == {"ana"}


def test_leases_need_a_sign_in_and_a_csrf_token(make_dataset: MakeDataset, settings: object) -> None:
    make_dataset(1)
    for what in ("renew", "release"):
        assert Client().get(f"/d/pictures/leases/{what}/").status_code == 405
        assert Client(enforce_csrf_checks=True).post(f"/d/pictures/leases/{what}/").status_code == 403
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    assert Client().post("/d/pictures/leases/renew/", headers={"HX-Request": "true"}).status_code in (302, 401)
