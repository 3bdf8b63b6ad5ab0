"""Test that the audited accuracy is that of the model in use, also if a newer one was trained and is not used."""

import pytest
from django.test import Client

from labeling.models import Dataset
from modeling.versions.audited_accuracy import newest_audited
from modeling.versions.headline import headline_of
from sampling.accuracy.estimate import history, latest
from sampling.models import AccuracyEstimate
from tests.factories import MakeDataset, not_none, said
from tests.modeling.factories import make_version

pytestmark = pytest.mark.django_db


def _add(dataset: Dataset, number: int, value: float, *, is_active: bool) -> None:
    version = make_version(dataset, number, n_rows=40, is_active=is_active)
    AccuracyEstimate.objects.create(
        dataset=dataset, model_version=version, value=value, low=value - 0.1, high=value + 0.05, n_labels=30,
        n_audit=24, n_right=20, n_effective=24, n_items=40,
    )  # fmt: skip


def test_a_newer_model_that_is_not_used_does_not_replace_it(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(40)
    _add(dataset, 1, 0.7, is_active=False)
    _add(dataset, 2, 0.9, is_active=True)
    _add(dataset, 3, 0.5, is_active=False)
    assert not_none(latest(dataset)).value == 0.9
    assert not_none(newest_audited(dataset.pk)).number == 2
    assert [estimate.value for estimate in history(dataset)] == [0.7, 0.9]
    model = not_none(latest(dataset)).model_version
    assert not_none(headline_of(dataset, model)).share.value == "90"
    page = f"/d/{dataset.slug}/accuracy/"
    assert "Model 2 predicts this share" in said(client.get(page))
    assert "50 %" in said(client.get(f"/d/{dataset.slug}/accuracy/honest/?model=3"))
