"""What is told of clusters and gaps: counts, classes, examples, and the region that opens each."""

import json
import re

import numpy as np
import pytest
from django.test import Client

from labeling.models import Dataset, Item
from modeling.models import Projection
from sampling.maps.quantized import LAST
from tests.factories import MakeDataset, count_queries, not_none
from tests.modeling.factories import import_labels
from tests.sampling.factories import add_model
from tests.sampling.maps.factories import add_map

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
N = 400


def places(n: int = N) -> np.ndarray:
    """Return four clouds, one a class; row 3 has no place."""
    rng = np.random.default_rng(1)
    found = rng.normal(size=(n, 2)) + 12 * np.stack([np.arange(n) % 4 // 2, np.arange(n) % 2], axis=1)
    found[3] = np.nan
    return found


def core(number: int, n: int) -> list[int]:
    """Return the ``n`` central rows of one of the clouds."""
    rows = np.arange(number, N, 4)
    rows = rows[rows != 3]
    away = places()[rows] - places()[rows].mean(axis=0)
    return rows[np.argsort((away**2).sum(axis=1))[:n]].tolist()


def told(projection: Projection, client: Client | None = None) -> list[dict]:
    answer = (client or Client()).get(f"/d/{projection.dataset.slug}/map/{projection.pk}/clusters/")
    assert answer.status_code == 200, answer.content
    found: list[dict] = json.loads(answer.content)["clusters"]
    return found


def label(dataset: Dataset, rows: list[int], number: int = 0) -> None:
    import_labels(dataset, rows, np.full(dataset.n_items, number))


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(N)


@pytest.fixture
def drawn_map(dataset: Dataset) -> Projection:
    return add_map(dataset, places())


def test_opening_a_cluster_shows_what_it_says_to_have(drawn_map: Projection, client: Client) -> None:
    Item.objects.filter(row=8).update(is_available=False)
    Dataset.objects.update(n_missing=1)
    found = told(drawn_map)
    assert [one["kind"] for one in found] == ["cluster"] * 4
    lowest = []
    for one in found:
        query = f"queue=all&state=any&n=240&map={drawn_map.pk}&region={one['region']}"
        page = client.get(f"/d/pictures/grid/?{query}").content.decode()
        rows = [int(row) for row in re.findall(r'data-row="(\d+)"', page)]
        assert len(rows) == one["n"] > 80
        assert len({row % 4 for row in rows}) == 1
        assert len(one["thumbs"]) == 4
        assert {thumb["row"] for thumb in one["thumbs"]} <= set(rows)
        corners = np.array(one["outline"])
        assert one["region"] == "_".join(f"{x}-{y}" for x, y in np.clip(corners, 0, LAST).tolist())
        lowest.append(corners.min())
    assert min(lowest) < 0, "outlines at the edge are not cut there"
    assert 394 <= sum(one["n"] for one in found) <= 398


def test_labels_lead_and_predictions_where_there_are_none(dataset: Dataset, drawn_map: Projection) -> None:
    assert all(one["what"] == "" and one["labelled"] == "no labels" for one in told(drawn_map))
    rows = core(0, 5)
    label(dataset, rows[:4], 0)
    label(dataset, rows[4:], 1)
    add_model(dataset, np.tile(np.array([[0.2, 0.8]], np.float32), (N, 1)))
    by_row = {one["thumbs"][0]["row"] % 4: one for one in told(drawn_map)}
    assert by_row[0]["what"] == "cat, 4 of 5 labels"
    assert by_row[0]["n_labelled"] == 5
    assert by_row[0]["labelled"] == "5 labeled"
    assert by_row[1]["what"] == f"dog, {by_row[1]['n']} of {by_row[1]['n']} predicted"
    assert by_row[1]["labelled"] == "no labels"


def test_a_cloud_that_nobody_labelled_is_pointed_out_until_somebody_does(
    dataset: Dataset, drawn_map: Projection
) -> None:
    label(dataset, [row for row in range(0, N, 3) if row % 4 != 2])
    found = told(drawn_map)
    assert [one["is_gap"] for one in found if one["thumbs"][0]["row"] % 4 == 2] == [True]
    assert sum(one["is_gap"] for one in found) == 1
    assert [one["kind"] for one in found] == ["cluster"] * 4, "told once, not as a gap in it as well"
    assert "is-gap" in Client().get(f"/d/pictures/map/{drawn_map.pk}/clusters/list/").content.decode()
    label(dataset, core(2, 60)[::2])
    assert not any(one["is_gap"] for one in told(drawn_map))


def test_a_part_of_a_cluster_without_labels_is_a_gap_of_its_own(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2000, name="one")
    cloud = np.random.default_rng(0).normal(size=(2000, 2))
    projection = add_map(dataset, cloud)
    label(dataset, [row for row in range(0, 2000, 5) if cloud[row, 0] > 0])
    cluster, gap = told(projection)
    assert (cluster["kind"], cluster["is_gap"], gap["kind"], gap["is_gap"]) == ("cluster", False, "gap", True)
    assert (gap["name"], gap["labelled"]) == ("Gap 1", "no labels")
    assert all(cloud[thumb["row"], 0] < 0.2 for thumb in gap["thumbs"])
    assert 500 < gap["n"] < 1100


def test_the_list_says_the_same_with_links(dataset: Dataset, drawn_map: Projection, client: Client) -> None:
    label(dataset, core(0, 2))
    found = told(drawn_map)
    page = client.get(f"/d/pictures/map/{drawn_map.pk}/clusters/list/").content.decode()
    assert re.findall(r'data-cluster="([^"]+)"', page) == [one["id"] for one in found]
    assert re.findall(r'data-region="([^"]+)"', page) == [one["region"] for one in found]
    assert "cat, 2 of 2 labels (too few to tell)" in page
    address = not_none(re.search(r'<a href="([^"]+)"', page))
    assert client.get(address[1].replace("&amp;", "&")).status_code == 200


def test_no_clusters_and_no_file_are_said(make_dataset: MakeDataset, client: Client, settings: object) -> None:
    few = add_map(make_dataset(5, name="few"), np.eye(5, 2))
    assert told(few) == []
    assert "No cluster stands out" in client.get(f"/d/few/map/{few.pk}/clusters/list/").content.decode()
    nowhere = add_map(make_dataset(40, name="nowhere"), np.full((40, 2), np.nan))
    assert told(nowhere) == []
    for file in (settings.STORE_DIR / "maps").rglob("*.npy"):  # type: ignore[attr-defined]
        file.unlink()
    assert client.get(f"/d/few/map/{few.pk}/clusters/").status_code == 409
    assert "Compute the map again" in client.get(f"/d/few/map/{few.pk}/clusters/list/").content.decode()


def test_a_map_older_than_the_newest_images_and_one_newer_than_what_is_known(make_dataset: MakeDataset) -> None:
    older = add_map(make_dataset(60, name="older"), places(40))
    newer = add_map(make_dataset(40, name="newer"), places(60))
    for projection in (older, newer):
        label(projection.dataset, [0])
        assert told(projection)


def test_what_clusters_ask_the_database_does_not_grow(make_dataset: MakeDataset) -> None:
    counts = set()
    for n in (40, N):
        projection = add_map(make_dataset(n, name=f"of{n}"), places(n))
        label(projection.dataset, list(range(0, n, 2)))
        told(projection, client := Client())
        counts.add(count_queries(told, projection, client))
    assert len(counts) == 1, counts
