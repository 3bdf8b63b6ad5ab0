"""Fragments that the workbench loads: the browser's Back button must not bring old ones from its cache."""

import pytest
from django.test import Client

from tests.factories import MakeDataset

pytestmark = pytest.mark.django_db
FRAGMENTS = ("header/", "model/badge/", "queues/", "queues/unlike/", "recent/", "classes/first/")


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_fragments_of_the_workbench_are_not_cached(client: Client, make_dataset: MakeDataset, fragment: str) -> None:
    make_dataset(1)
    response = client.get(f"/d/pictures/{fragment}")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
