"""The comparison of an image with its nearest labeled images: by the model, without one, and where there is none."""

import re

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from labeling.decisions import classes
from labeling.models import Dataset, LabelClass
from modeling.models import EmbeddingSet
from modeling.store import open_vectors
from sampling.compare import neighbors
from tests.factories import MakeDataset, assert_contains, assign, count_queries, not_none, said, text
from tests.modeling.factories import add_vectors, three_kinds_dataset
from tests.sampling.factories import add_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset, store: object) -> Dataset:
    """Provide images of three kinds, the first 30 of 40 labeled."""
    return three_kinds_dataset(make_dataset, 40, 30)[0]


def page(client: Client, row: int, second: object = "") -> str:
    return text(client.get(reverse("sampling:compare", args=["pictures", row]), {"with": second}), 200)


def shown(html: str) -> list[tuple[str, list[str]]]:
    """Return the classes of the comparison with the paths of their images."""
    sections = re.findall(r'aria-label="Nearest images labeled (\w+)"(.*?)</section>', html, re.DOTALL)
    return [(name, re.findall(r'<img [^>]*alt="([^"]+)"', rest)) for name, rest in sections]


def test_without_a_model_the_nearest_labels_decide(client: Client, dataset: Dataset) -> None:
    vectors = not_none(open_vectors(EmbeddingSet.objects.get()))
    unit = vectors.X / np.linalg.norm(vectors.X, axis=1, keepdims=True)
    similarity = unit[:30] @ unit[35]
    kinds = np.arange(30) % 3
    order = sorted(range(3), key=lambda kind: -similarity[kinds == kind].max())
    html = page(client, 35)
    expected = []
    for kind in order[:2]:
        rows = np.flatnonzero(kinds == kind)
        nearest = rows[np.argsort(-similarity[rows])][:3]
        expected.append((("cat", "dog", "wolf")[kind], [f"image{row:04d}.png" for row in nearest]))
        assert f"{similarity[nearest[0]]:.2f}" in html
    assert shown(html) == expected
    assert " %</b>" not in html


def test_negative_similarities_have_a_minus_sign(client: Client, make_dataset: MakeDataset, store: object) -> None:
    dataset = make_dataset(3)
    add_vectors(dataset, np.array([[1, 0], [-1, 1], [-0.001, 1]], np.float32))
    assign(dataset, [1, 2], LabelClass.objects.get(name="cat"))
    assert_contains(said(page(client, 0)), "−0.71", "Similarity 0.00", "similarity (−1 to 1, the same is 1)")


def test_with_a_model_its_two_most_likely_classes(client: Client, dataset: Dataset) -> None:
    P = np.tile(np.array([0.1, 0.3, 0.6], np.float32), (40, 1))
    add_model(dataset, P)
    html = page(client, 35)
    assert [name for name, _ in shown(html)] == ["wolf", "dog"]
    assert_contains(said(html), "wolf 60 %", "dog 30 %")


@pytest.mark.parametrize("has_model", [True, False])
def test_the_second_class_can_be_chosen(client: Client, dataset: Dataset, has_model: bool) -> None:
    if has_model:
        add_model(dataset, np.tile(np.array([0.1, 0.3, 0.6], np.float32), (40, 1)))
    (first, _), (second, _) = usual = shown(page(client, 35))
    (third,) = LabelClass.objects.exclude(name__in=[first, second])
    html = page(client, 35, third.pk)
    assert [name for name, _ in shown(html)] == [first, third.name]
    assert len(shown(html)[1][1]) == 3
    assert not has_model or f"{third.name} 10 %" in said(html)
    for other in (LabelClass.objects.get(name=first).pk, LabelClass.objects.get(name=second).pk, 10**9, "x"):
        assert shown(page(client, 35, other)) == usual


def test_an_image_is_not_its_own_neighbor(client: Client, dataset: Dataset) -> None:
    html = page(client, 3)
    assert "Now:" in html
    assert all("image0003.png" not in images for _, images in shown(html))


def test_an_image_that_is_newer_than_the_model_is_compared_by_its_neighbors(client: Client, dataset: Dataset) -> None:
    add_model(dataset, np.full((30, 3), 1 / 3, np.float32))
    html = page(client, 35)
    assert len(shown(html)) == 2
    assert " %</b>" not in html


def test_merged_and_deleted_classes(client: Client, dataset: Dataset) -> None:
    add_model(dataset, np.tile(np.array([0.6, 0.3, 0.1], np.float32), (40, 1)))
    cat, dog, wolf = LabelClass.objects.all()
    classes.merge(dog, wolf, user=None)
    assert [name for name, _ in shown(page(client, 35))] == ["cat", "wolf"]
    classes.delete(cat, user=None)
    html = page(client, 35)
    assert [name for name, _ in shown(html)] == ["wolf"]
    assert "Only one class has labels." in html


def test_a_class_that_lost_its_labels_has_no_images(client: Client, dataset: Dataset) -> None:
    add_model(dataset, np.tile(np.array([0.6, 0.3, 0.1], np.float32), (40, 1)))
    cat, dog, _ = LabelClass.objects.all()
    assign(dataset, range(0, 30, 3), dog)
    html = page(client, 35)
    assert shown(html)[0] == ("cat", [])
    assert "No other image has this label." in html
    assert cat.name in html


def test_what_is_missing_is_said(client: Client, make_dataset: MakeDataset, store: object) -> None:
    dataset = make_dataset(6)
    assert "No embeddings yet" in page(client, 0)
    add_vectors(dataset, np.eye(6, dtype=np.float32), np.arange(6) != 2)
    assert "No other labeled images yet" in page(client, 0)
    assert "This image has no embedding yet" in page(client, 2)
    cat = LabelClass.objects.get(name="cat")
    assign(dataset, [2], cat)  # without an embedding
    assert "No other labeled images yet" in page(client, 0)
    assign(dataset, [0], cat)
    assert "No other labeled images yet" in page(client, 0)
    assign(dataset, [1], cat)
    assert shown(page(client, 0)) == [("cat", ["image0001.png"])]


def test_damaged_embeddings_are_said(client: Client, dataset: Dataset, store: object) -> None:
    for file in (store / "vectors").rglob("vectors-*.npy"):  # type: ignore[operator]
        file.write_bytes(b"damaged")
    html = page(client, 35)
    assert "The embeddings cannot be read" in html


def test_of_many_labels_a_sample_is_searched(client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "random sample" not in page(client, 35)
    monkeypatch.setattr(neighbors, "MAX_LABELS", 4)
    html = page(client, 35)
    assert_contains(html, "in a random sample of the labels")
    assert [len(images) for _, images in shown(html)] == [3, 3]
    assert page(client, 35) == html


def test_no_such_image(client: Client, dataset: Dataset) -> None:
    assert client.get(reverse("sampling:compare", args=["pictures", 99])).status_code == 404


def test_the_database_is_asked_as_often_for_many_images(
    client: Client, make_dataset: MakeDataset, store: object
) -> None:
    asked = []
    for n, name in ((40, "few"), (200, "many")):
        made = make_dataset(n, name=name, classes=("cat", "dog", "wolf"))
        add_vectors(made, np.random.default_rng(1).normal(size=(n, 8)).astype(np.float32))
        for number, label in enumerate(made.classes.all()):
            assign(made, range(number, n - 5, 3), label)
        address = reverse("sampling:compare", args=[name, n - 1])
        client.get(address)
        asked.append(count_queries(client.get, address))
    assert asked[0] == asked[1]
