"""Test the smoothed model from the settings to the stored probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
from modeling.algorithms.calibration import softmax
from modeling.algorithms.neighbors import knn_graph
from modeling.algorithms.smoothing import Smoothing
from modeling.assistive import pipeline as assistive_pipeline
from modeling.encoders import neighbor_cache
from modeling.models import ModelVersion, RetrainPolicy
from modeling.versions import model_files
from tests.factories import MakeDataset
from tests.modeling.factories import add_vectors, import_labels

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
N = 300


@pytest.fixture
def clusters(make_dataset: MakeDataset) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Provide five clusters of each of three classes, with 45 labels and one image without an embedding."""
    dataset = make_dataset(N, classes=("cat", "dog", "wolf"))
    rng = np.random.default_rng(1)
    y, cluster = rng.integers(3, size=N), rng.integers(5, size=N)
    X = (2 * rng.normal(size=(3, 5, 16))[y, cluster] + rng.normal(size=(N, 16))).astype(np.float32)
    has = np.arange(N) != 250
    X[~has] = 0
    add_vectors(dataset, X, has)
    import_labels(dataset, list(range(45)), y)
    return dataset, X, y


def retrained(dataset: Dataset) -> tuple[ModelVersion, np.ndarray, dict[str, Any]]:
    result = run_now("retrain", dataset_id=dataset.pk).result
    version = ModelVersion.objects.get(is_active=True)
    found = model_files.open_probabilities(version)
    assert found is not None
    return version, np.array(found), result


def test_probabilities_are_those_of_the_smoothed_head(clusters: tuple[Dataset, np.ndarray, np.ndarray]) -> None:
    dataset, X, _ = clusters
    version, found, result = retrained(dataset)
    assert version.steps == version.metrics["steps"] == result["smoothing_steps"] >= 1
    head = model_files.open_head(version)
    assert head is not None
    values = X.copy()
    values[250] = np.nan
    smoothing = Smoothing.of(knn_graph(values, neighbor_cache.NEIGHBOURS))
    logits = head.logits(X)
    smoothing.smooth(logits, version.steps)
    expected = softmax(assistive_pipeline.calibration_of(version).logits(logits))
    rows = np.arange(N) != 250
    np.testing.assert_allclose(found[rows], expected[rows], atol=1e-4)
    assert np.isnan(found[250]).all()


def test_predicting_again_gives_the_same(clusters: tuple[Dataset, np.ndarray, np.ndarray]) -> None:
    dataset, _, _ = clusters
    version, found, _ = retrained(dataset)
    model_files.delete_probabilities(version)
    run_now("predict", dataset_id=dataset.pk, params={"version": version.number, "is_refresh": False})
    np.testing.assert_array_equal(model_files.open_probabilities(version), found)


def test_smoothing_helps_and_can_be_switched_off_on_the_page(
    clusters: tuple[Dataset, np.ndarray, np.ndarray], client: Client
) -> None:
    dataset, _, y = clusters
    _, by_smoothed, _ = retrained(dataset)
    page = f"/d/{dataset.slug}/model/"
    assert "over the most similar images" in client.get(page).content.decode()
    form = {
        "is_automatic": "on",
        "min_new": 20,
        "share_new": 10,
        "calibration": "temperature",
        "class_weights": "equal",
    }
    assert client.post(f"{page}policy/", form).status_code == 200
    assert not RetrainPolicy.objects.get(dataset=dataset).is_smoothed
    plain, by_plain, result = retrained(dataset)
    assert (plain.steps, result["smoothing_steps"]) == (0, 0)
    assert "over the most similar images" not in client.get(page).content.decode()
    rows = np.setdiff1d(np.arange(45, N), [250])
    accuracies = [(of[rows].argmax(axis=1) == y[rows]).mean() for of in (by_smoothed, by_plain)]
    assert accuracies[0] > accuracies[1]


def test_a_retrain_does_not_wait_for_the_graph_of_many_images(
    clusters: tuple[Dataset, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, _ = clusters
    monkeypatch.setattr(neighbor_cache, "AT_ONCE", 100)
    version, _, _ = retrained(dataset)
    assert version.steps == 0
    embedding_set, vectors = assistive_pipeline.store.active_vectors(dataset.pk)
    neighbor_cache.graph_of(embedding_set, vectors)  # another job needed it
    version, found, _ = retrained(dataset)
    assert version.steps >= 1
    for file in neighbor_cache.cache_of(embedding_set).folder.glob("*graph*"):
        file.unlink()
    model_files.delete_probabilities(version)
    run_now("predict", dataset_id=dataset.pk, params={"version": version.number, "is_refresh": False})
    np.testing.assert_array_equal(model_files.open_probabilities(version), found)  # by the weights, kept on their own


@pytest.mark.parametrize("name", ["smoothing", "smoothing_indices", "smoothing_indptr", "smoothing_order"])
def test_damaged_weights_of_the_graph_are_computed_again(
    clusters: tuple[Dataset, np.ndarray, np.ndarray], name: str
) -> None:
    dataset, _, _ = clusters
    _, found, _ = retrained(dataset)
    embedding_set, _ = assistive_pipeline.store.active_vectors(dataset.pk)
    (file,) = neighbor_cache.cache_of(embedding_set).folder.glob(f"{name}-*")
    file.write_bytes(b"damaged")
    _, again, _ = retrained(dataset)
    np.testing.assert_allclose(again, found, atol=0.05)
