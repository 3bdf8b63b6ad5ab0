"""The guide of a suggested class, and labeled images suggested as examples."""

import re

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from labeling.guide import guides
from labeling.models import Dataset, Item, LabelClass
from sampling.guide import typical
from tests.factories import MakeDataset, assert_contains, text
from tests.modeling.factories import add_vectors, import_labels, three_kinds_dataset
from tests.sampling.factories import add_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset, store: object) -> Dataset:
    return three_kinds_dataset(make_dataset, 40, 30)[0]


def item_guide(client: Client, row: int) -> str:
    return text(client.get(reverse("sampling:item_guide", args=["pictures", row])), 200)


def suggestions(client: Client, label: LabelClass) -> list[str]:
    html = text(client.get(reverse("sampling:guide_suggestions", args=["pictures", label.pk])), 200)
    return re.findall(r'<img [^>]*alt="([^"]+)"', html)


def test_the_guide_of_the_suggested_class(client: Client, dataset: Dataset) -> None:
    dog = LabelClass.objects.get(name="dog")
    guides.save(dog, "It **barks**.", {})
    assert "It <strong>" not in item_guide(client, 35)
    add_model(dataset, np.tile(np.array([0.2, 0.7, 0.1], np.float32), (40, 1)))
    html = item_guide(client, 35)
    # Blind mode hides what has this class; and nothing asks again and again.
    assert_contains(html, "It <strong>barks</strong>.", "is-suggested", lacks=["load, ", "Use as example"])
    labeled = item_guide(client, 1)
    assert_contains(labeled, "It <strong>barks</strong>.", "Use as example", lacks=["is-suggested"])
    guides.add_examples(dataset, [Item.objects.get(row=1).pk])
    assert "No longer an example" in item_guide(client, 1)


def test_without_a_model_there_is_no_suggestion(client: Client, dataset: Dataset) -> None:
    assert_contains(item_guide(client, 35), 'id="item-guide"', lacks=["<h2>", "load, "])


def test_typical_images_are_nearest_to_the_center(client: Client, make_dataset: MakeDataset, store: object) -> None:
    dataset = make_dataset(8)
    angles = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 1.5, 3.0, 0.2])
    add_vectors(dataset, np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), np.arange(8) != 1)
    import_labels(dataset, list(range(7)), np.array([0, 0, 0, 0, 0, 0, 1]))
    cat, dog = LabelClass.objects.all()
    assert suggestions(client, cat) == [f"image{row:04d}.png" for row in (4, 3, 2, 0)]
    assert suggestions(client, dog) == ["image0006.png"]


def test_without_embeddings_or_labels_nothing_is_suggested(
    client: Client, make_dataset: MakeDataset, store: object
) -> None:
    dataset = make_dataset(4)
    cat = LabelClass.objects.get(name="cat")
    assert suggestions(client, cat) == []
    add_vectors(dataset, np.eye(4, dtype=np.float32))
    assert suggestions(client, cat) == []


def test_of_many_labels_a_sample_gives_the_center(
    client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typical, "MAX_LABELS", 5)
    cat = LabelClass.objects.get(name="cat")
    assert len(suggestions(client, cat)) == 4
    assert suggestions(client, cat) == suggestions(client, cat)


def test_a_class_of_another_dataset_or_none_is_not_found(client: Client, dataset: Dataset) -> None:
    assert client.get(reverse("sampling:guide_suggestions", args=["pictures", 10**6])).status_code == 404
