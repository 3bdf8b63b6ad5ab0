"""The page Results: one number with its name, the most frequent errors with their images, and the next step."""

import re
from html import unescape

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
from modeling.models import ModelVersion
from tests.factories import MakeDataset, assert_contains, count_queries, said
from tests.modeling.factories import add_three_kinds, import_labels, make_version
from tests.sampling.factories import POINTS, estimates_at, tile_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
PAGE, BADGE = "/d/pictures/results/", "/d/pictures/model/badge/"


def text(client: Client, url: str = PAGE) -> str:
    return unescape(said(client.get(url), 200))


@pytest.fixture
def trained(make_dataset: MakeDataset) -> Dataset:
    """Provide three kinds that overlap, half of them labeled, with a real model."""
    dataset = make_dataset(180, classes=("cat", "dog", "wolf"))
    _, y = add_three_kinds(dataset, 180)
    y = y.copy()
    y[:90:10] = (y[:90:10] + 1) % 3  # some labels are wrong, so that classes are confused
    import_labels(dataset, list(range(90)), y)
    run_now("retrain", dataset_id=dataset.pk)
    return dataset


def test_the_number_is_that_of_the_badge_under_the_same_name(trained: Dataset, client: Client) -> None:
    share = re.search(r"held-out accuracy ([\d.]+) % \(([\d.]+ to [\d.]+)\)", text(client, BADGE))
    assert share is not None
    shown = text(client)
    assert f"How good is it? {share[1]} % 95 % interval {share[2]} % Held-out accuracy of model 1" in shown
    assert "Cross-validated on 90 labels: each was predicted by a model trained without it." in shown


def test_the_audited_accuracy_comes_first_where_there_is_one(make_dataset: MakeDataset, client: Client) -> None:
    newest = estimates_at(make_dataset(30), POINTS)[-1]
    ModelVersion.objects.filter(pk=newest.model_version_id).update(
        is_active=True, metrics={"accuracy": 0.7, "accuracy_interval": [0.6, 0.8]}
    )
    shown = text(client)
    assert "How good is it? 86 % 95 % interval 74 to 93 % Audited accuracy of model 4" in shown
    assert_contains(shown, "Measured on 50 labels of a random sample", lacks=["70 % 95 %", "Held-out accuracy of"])
    assert "audited accuracy 86 % (74 to 93)" in text(client, BADGE)
    ModelVersion.objects.filter(is_active=True).update(is_active=False)
    make_version(newest.dataset, 5, is_active=True)
    assert_contains(text(client), "Audited accuracy of model 4", "Model 5, in use now, has no audited accuracy yet.")


def test_an_audit_of_few_images_does_not_replace_held_out_accuracy(make_dataset: MakeDataset, client: Client) -> None:
    newest = estimates_at(make_dataset(30), [(60, 1.0, 3)])[-1]
    versions = ModelVersion.objects.filter(pk=newest.model_version_id)
    versions.update(is_active=True, metrics={"accuracy": 0.93, "accuracy_interval": [0.9, 0.95]})
    assert_contains(
        text(client), "93 % 95 % interval 90 to 95 % Held-out accuracy of model 1", "Audit: 3 of 20 images."
    )
    assert "held-out accuracy 93 % (90 to 95) audit: 3 of 20 images" in text(client, BADGE)
    versions.update(metrics={})
    assert "audited accuracy" in text(client, BADGE), "the only one that is known"


def test_confused_pairs_open_their_images(trained: Dataset, client: Client) -> None:
    pairs = client.get(PAGE).context["pairs"]
    assert 1 <= len(pairs) <= 3
    assert [pair.n for pair in pairs] == sorted((pair.n for pair in pairs), reverse=True)
    counts = ModelVersion.objects.get().metrics["confusion"]
    wrong = np.array(counts) - np.diag(np.diag(counts))
    assert pairs[0].n == wrong.max()
    for pair in pairs:
        grid = client.get(pair.href.replace("/d/pictures/?", "/d/pictures/grid/?") + "&n=100")
        assert len(tile_rows(grid)) == pair.n


def test_the_classes_with_the_lowest_recall_are_named(trained: Dataset, client: Client) -> None:
    recalls = client.get(PAGE).context["recalls"]
    expected = sorted(row[at] / sum(row) for at, row in enumerate(ModelVersion.objects.get().metrics["confusion"]))
    assert [missed.recall for missed in recalls] == [recall for recall in expected if recall < 1][:3]
    assert f"{recalls[0].n_right} of {recalls[0].n} correct" in text(client)


def test_without_a_model_and_with_too_few_labels_it_says_what_is_missing(
    make_dataset: MakeDataset, client: Client
) -> None:
    dataset = make_dataset(3)
    assert_contains(text(client), "No model yet", "Where is it wrong? Not known yet", "Label images of two classes")
    make_version(dataset, is_active=True)
    assert_contains(text(client), "The first estimate comes with 20 labels", "The curve starts at 20 labels")
    assert client.get("/d/nowhere/results/").status_code == 404
    assert client.post(PAGE).status_code == 405


def test_one_point_is_no_curve(trained: Dataset, client: Client) -> None:
    plot = client.get(PAGE).context["learning"]
    assert plot.waiting == "The curve appears with the next model that has more labels."
    shown = client.get(PAGE).content.decode()
    assert plot.waiting in shown
    assert 'id="plot-learning-area"' not in shown


def test_its_queries_do_not_grow_with_items(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(1)
    client.get(PAGE)
    counts = []
    for name, n in (("few", 10), ("many", 300)):
        dataset = make_dataset(n, name=name)
        make_version(dataset, is_active=True, metrics={"confusion": [[4, 1], [0, 5]]})
        counts.append(count_queries(client.get, f"/d/{name}/results/"))
    assert counts[0] == counts[1] < 40
