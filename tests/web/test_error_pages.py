"""Check the pages of errors, which have less context than others."""

import pytest
from django.test import Client

from labeling.models import Dataset
from labeling.views import datasets
from tests.factories import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def test_a_server_error_has_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> dict[str, object]:
        raise RuntimeError("no context")

    monkeypatch.setattr(datasets, "datasets_context", fail)
    Dataset.objects.create(name="stars", slug="stars", root="/stars")
    response = Client(raise_request_exception=False).get("/datasets/")
    assert response.status_code == 500
    assert "Your labels are safe" in text(response, 500)


def test_an_unknown_address_has_a_page_with_the_dataset(client: Client) -> None:
    Dataset.objects.create(name="stars", slug="stars", root="/stars")
    page = text(client.get("/d/nowhere/"), 404)
    assert "There is no page at this address." in page
    assert 'href="/d/stars/classes/"' in page
