"""The images that a person labeled last."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from labeling.decisions import recent
from labeling.decisions.recent import recently_decided
from labeling.models import Dataset, LabelClass
from tests.factories import MakeDataset, assert_contains, count_queries, decide

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(40)


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


def rows(dataset: Dataset, user: User) -> list[int]:
    return [item.row for item in recently_decided(dataset, user)]


def test_newest_first_without_those_of_others_and_undone_ones(dataset: Dataset, ana: User) -> None:
    ben = User.objects.create_user("ben")
    decide(dataset, "assign", [1], "cat", user=ana)
    decide(dataset, "assign", [2, 3], "dog", user=ana)
    decide(dataset, "unsure", [4], user=ana)
    decide(dataset, "assign", [5], "cat", user=ben, holder="ben")
    decide(dataset, "assign", [1], "dog", user=ana)
    decide(dataset, "skip", [6], user=ana)
    decide(dataset, "clear", [4], user=ana)
    decide(dataset, "assign", [2], "cat", user=ben, holder="ben")
    decide(dataset, "assign", [7], "cat", user=ana)
    decide(dataset, "undo", user=ana)
    assert rows(dataset, ana) == [6, 1, 3]
    assert rows(dataset, ben) == [2, 5]


def test_a_dozen_by_a_fixed_number_of_queries(
    dataset: Dataset, ana: User, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(dataset, "assign", range(20), "cat", user=ana)
    for row in range(20, 30):
        decide(dataset, "assign", [row], "dog", user=ana)
    found = rows(dataset, ana)
    assert found[:10] == list(range(29, 19, -1))
    assert len(found) == recent.MOST
    assert count_queries(recently_decided, dataset, ana) == 5
    assert rows(make_dataset(2, name="other"), ana) == []
    monkeypatch.setattr(recent, "_SEARCHED", 1)
    assert rows(dataset, ana) == [29]


def test_the_strip_links_to_each_image(client: Client, dataset: Dataset, ana: User) -> None:
    client.force_login(ana)
    LabelClass.objects.filter(name="cat").update(name="<cat>")
    decide(dataset, "assign", [3], "<cat>", user=ana)
    decide(dataset, "skip", [4], user=ana)
    strip = client.get("/d/pictures/recent/")
    assert_contains(
        strip, "queue=all&amp;state=any&amp;rows=3", "&lt;cat&gt;", "<kbd>1</kbd>", "skipped", lacks=["<cat>"]
    )
    assert_contains(client.get("/d/pictures/grid/?queue=all&state=any&rows=3"), 'data-row="3"', lacks=['data-row="4"'])
