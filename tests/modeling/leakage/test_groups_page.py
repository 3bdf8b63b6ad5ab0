"""Test the page of groups of near-duplicates."""

import re

import numpy as np
import pytest
from django.test import Client

from labeling.models import Dataset, Item
from modeling.algorithms.near_duplicates import grouped
from modeling.leakage import groups
from modeling.leakage.files import current_stamps, files_of, save_pairs
from modeling.models import LeakageCheck
from tests.factories import MakeDataset, assert_contains, count_queries, decide, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
ADDRESS = "/d/pictures/near-duplicates/"


def save_groups(dataset: Dataset, members: list[list[int]]) -> None:
    """Save these groups as what a check found; the others of each are copies of its first one."""
    n = dataset.n_items
    pairs = np.array([[rows[0], row] for rows in members for row in rows[1:]], np.int64).reshape(-1, 2)
    check = LeakageCheck(dataset=dataset, n_images=n, n_pairs=len(pairs), n_groups=len(members), facts={"images": n})
    differences = np.linspace(0.001, 0.015, len(pairs), dtype=np.float32)
    save_pairs(check, pairs, differences, grouped(pairs, n), current_stamps(dataset, np.arange(n)))


def shown(client: Client, start: str = "") -> list[int]:
    """Return the numbers of the groups on a page."""
    content = client.get(ADDRESS, {"from": start} if start else {}).content.decode()
    return [int(number) for number in re.findall(r'id="group-(\d+)"', content)]


def test_different_labels_come_first(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(12)
    save_groups(dataset, [[0, 1], [2, 3, 4], [5, 6], [7, 8]])
    decide(dataset, "assign", [0, 1, 2, 5], "cat")
    decide(dataset, "assign", [4, 6], "dog")
    page = client.get(ADDRESS)
    assert_contains(page, "Different labels for one picture", "2 labels", "similarity 0.985 or more", "no label")
    assert shown(client) == [2, 5, 0, 7]
    assert 'href="/d/pictures/items/4/"' in page.content.decode()
    assert "4 groups of near-duplicates found among 12 images" in said(page)
    decide(dataset, "assign", [4, 6], "cat")
    assert "Different labels" not in client.get(ADDRESS).content.decode()
    assert shown(client) == [0, 2, 5, 7]


def test_a_page_says_which_splits_copies_would_get(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(60)
    save_groups(dataset, [[row, row + 30] for row in range(30)])
    decide(dataset, "assign", range(60), "cat")
    page = said(client.get(ADDRESS))
    assert "Without the check: in train and test" in page
    assert "· test" in page
    assert page.count("Without the check") < 30


def test_pages_of_groups_show_each_once(
    make_dataset: MakeDataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "ON_PAGE", 4)
    monkeypatch.setattr(groups, "_BATCH", 6)
    dataset = make_dataset(60)
    save_groups(dataset, [[row, row + 30] for row in range(30)])
    different = [3, 4, 10, 11, 12, 29]
    decide(dataset, "assign", range(60), "cat")
    decide(dataset, "assign", [row + 30 for row in different], "dog")
    for most in (1000, 10):
        monkeypatch.setattr(groups, "SCANNED", most)
        seen, start = shown(client), ""
        while found := re.search(
            r'rel="next" href="\?from=(\w+)"', client.get(ADDRESS, {"from": start}).content.decode()
        ):
            start = found[1]
            numbers = shown(client, start)
            assert len(numbers) <= 4
            seen += numbers
        assert seen == [*different, *(row for row in range(30) if row not in different)]
    assert shown(client, "what?") == shown(client)
    assert shown(client, "o999") == []
    monkeypatch.setattr(groups, "SCANNED", 1)
    assert_contains(client.get(ADDRESS, {"from": "d12"}), "Show groups with equal labels", "Continue")
    assert shown(client, "o")[0] == 0


def test_a_large_group_shows_each_of_its_labels(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(40)
    save_groups(dataset, [list(range(40))])
    decide(dataset, "assign", [0, 1], "cat")
    decide(dataset, "assign", [39], "dog")
    page = client.get(ADDRESS)
    assert_contains(page, "and 16 more", "/d/pictures/items/39/")


def test_it_costs_the_same_for_few_and_many_groups(make_dataset: MakeDataset, client: Client) -> None:
    few, many = make_dataset(4), make_dataset(300, name="many")
    save_groups(few, [[0, 1], [2, 3]])
    save_groups(many, [[row, row + 1] for row in range(0, 300, 2)])
    counts = []
    for address in (ADDRESS, "/d/many/near-duplicates/"):
        client.get(address)  # the session remembers the dataset
        counts.append(count_queries(client.get, address))
    assert counts[1] <= counts[0]


def test_images_that_changed_and_states_without_groups_are_explained(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(4)
    assert_contains(client.get(ADDRESS), "No comparison yet", "Check now", lacks=["were not looked for yet"])
    save_groups(dataset, [[0, 1]])
    Item.objects.get(dataset=dataset, row=1).frames.update(sha256="f" * 64)
    assert_contains(client.get(ADDRESS), "changed since")
    (file,) = files_of(dataset.pk).folder.glob("pairs-*.npz")
    file.write_bytes(b"damaged")
    assert_contains(client.get(ADDRESS), "is damaged", "Run hoshina check_leakage again.")
    LeakageCheck.objects.all().delete()
    save_groups(dataset, [])
    assert_contains(client.get(ADDRESS), "None found among 4 images")
    response = client.post(
        "/d/pictures/leakage/", headers={"HX-Request": "true", "HX-Current-URL": f"http://testserver{ADDRESS}"}
    )
    assert response.headers["HX-Refresh"] == "true"
    assert_contains(client.get(ADDRESS), 'hx-select="#groups"', "check for near-duplicates is queued")
