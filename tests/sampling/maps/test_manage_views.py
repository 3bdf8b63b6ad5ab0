"""The list of maps and the form of a new one."""

from dataclasses import asdict

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.maps.options import MapOptions
from modeling.models import EmbeddingSet, Projection
from tests.factories import MakeDataset, assert_contains, count_queries, fresh, text
from tests.modeling.factories import add_vectors
from tests.sampling.maps.factories import add_map

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
N = 40
USUAL = {
    "method": "umap", "n_neighbors": "15", "min_dist": "0.1", "perplexity": "30", "metric": "euclidean", "seed": "0",
}  # fmt: skip
MAKE = "/d/pictures/map/make/"


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(N)
    add_vectors(dataset, np.random.default_rng(0).normal(size=(N, 4)))
    return dataset


def test_a_map_is_begun_with_what_its_method_heeds(dataset: Dataset, client: Client) -> None:
    page = client.post(MAKE, USUAL | {"name": "  Night   1 ", "perplexity": "no number"})
    assert page.status_code == 200
    assert "Started" in page.content.decode()
    assert "hoshina:job" in page["HX-Trigger"]
    jobs = Job.objects.filter(kind="project_map", params__method="umap")
    params = jobs.get().params
    assert (params["name"], params["n_neighbors"]) == ("Night 1", 15)
    client.post(MAKE, USUAL | {"name": "Night 1"})
    assert jobs.count() == 1, "the same one asked for twice is one job"
    assert "Night 1 is being computed" in client.get("/d/pictures/map/list/?list").content.decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "som"}, "som is not one of the available choices"),
        ({"n_neighbors": "1"}, "greater than or equal to 2"),
        ({"n_neighbors": "40"}, "choose at most 39 neighbors"),
        ({"min_dist": "2"}, "less than or equal to 0.99"),
        ({"min_dist": "nan"}, "Enter a number"),
        ({"method": "tsne", "perplexity": "30"}, "perplexity of at most 13"),
        ({"is_supervised": "on"}, "labels of two classes"),
        ({"name": "UMAP 1"}, "There is already a map called"),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"seed": ""}, "This field is required"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    dataset: Dataset, client: Client, change: dict[str, str], words: str
) -> None:
    add_map(dataset, np.eye(N, 2))
    assert words in text(client.post(MAKE, USUAL | change), 422).replace("&#x27;", "'")
    assert not Job.objects.filter(kind="project_map").exists()


def test_without_vectors_there_is_no_form_but_words(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(3)
    assert_contains(client.get("/d/pictures/map/list/"), "no embeddings", lacks=["<form"])
    assert client.post(MAKE, USUAL).status_code == 422


def test_maps_are_listed_with_what_they_were_made_with(dataset: Dataset, client: Client) -> None:
    made = add_map(dataset, np.eye(N, 2))
    made.params = {"n_neighbors": 15, "min_dist": 0.1, "metric": "cosine", "is_supervised": True}
    made.quality, made.n_placed = {"trustworthiness": 0.987}, 3
    made.save()
    page = client.get("/d/pictures/map/list/").content.decode()
    assert "UMAP, 15 neighbors, minimum distance 0.1, cosine, seed 0, with labels" in page
    assert "40 images, 3 placed by their neighbors; trustworthiness 0.99" in page
    assert "no longer in use" in page, "its vectors are others than those of the dataset now"


def test_a_map_is_renamed_and_deleted(dataset: Dataset, client: Client) -> None:
    one, other = add_map(dataset, np.eye(N, 2)), add_map(dataset, np.eye(N, 2), name="Other")
    page = client.post(f"/d/pictures/map/{one.pk}/rename/", {"name": "  Spirals & co "})
    assert "Spirals &amp; co" in page.content.decode()
    for name, words in (("Other", "There is already a map called"), (" ", "Give a name"), ("x" * 81, "at most 80")):
        assert words in text(client.post(f"/d/pictures/map/{one.pk}/rename/", {"name": name}), 422)
    assert fresh(one).name == "Spirals & co"
    page = client.post(f"/d/pictures/map/{other.pk}/delete/")
    assert "Other" not in page.content.decode()
    assert not Projection.objects.filter(pk=other.pk).exists()
    assert client.post(f"/d/pictures/map/{other.pk}/delete/").status_code == 200, "somebody else was quicker"
    refused = client.post(f"/d/pictures/map/{other.pk}/rename/", {"name": "Again"})
    assert "deleted in the meantime" in refused.content.decode()


def test_another_datasets_maps_are_left_alone(dataset: Dataset, make_dataset: MakeDataset, client: Client) -> None:
    theirs = add_map(make_dataset(N, name="other"), np.eye(N, 2))
    client.post(f"/d/pictures/map/{theirs.pk}/delete/")
    client.post(f"/d/pictures/map/{theirs.pk}/rename/", {"name": "Mine"})
    assert fresh(theirs).name == "UMAP 1"
    for what in (f"{theirs.pk}/delete/", f"{theirs.pk}/rename/", "make/"):
        assert client.get(f"/d/pictures/map/{what}").status_code == 405


def test_the_list_asks_as_often_for_many_as_for_one(dataset: Dataset, client: Client) -> None:
    counts = []
    for number in range(6):
        add_map(dataset, np.eye(N, 2), name=f"Map {number}")
        client.get("/d/pictures/map/list/")
        counts.append(count_queries(client.get, "/d/pictures/map/list/"))
    assert len(set(counts)) == 1, counts
    assert EmbeddingSet.objects.count() == 2


def test_vectors_of_an_earlier_version_get_their_umap_map_when_the_page_is_opened(
    client: Client, make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(40)
    vectors = add_vectors(dataset, np.random.default_rng(1).normal(size=(40, 5)))
    run_now("project_map", dataset_id=dataset.pk, params=asdict(MapOptions(method="pca", name="Quick look")))
    for _ in range(2):
        assert "The UMAP map is being computed." in client.get(f"/d/{dataset.slug}/map/").content.decode()
        assert [job.params["method"] for job in Job.objects.filter(state=Job.State.QUEUED)] == ["umap"], "once"
    Job.objects.filter(state=Job.State.QUEUED).update(state=Job.State.CANCELLED)
    assert "Compute a UMAP map" in client.get(f"/d/{dataset.slug}/map/").content.decode(), "it does not come back"
    assert fresh(vectors).n_mapped == 40
