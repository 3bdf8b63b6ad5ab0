"""R before there are embeddings: the page says what happens, and the model comes without another key."""

import pytest
from playwright.sync_api import expect

from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.models import ModelVersion
from tests.browser.bench import Bench


@pytest.fixture
def dataset(bench: Bench) -> Dataset:
    return bench.dataset


def test_r_computes_embeddings_and_the_model_follows(bench: Bench, worker: None) -> None:
    page = bench.open().page
    expect(page.locator("#badge")).to_contain_text("no model yet · label two classes")
    bench.press("1", "1", "1", "2", "2", "2")
    bench.settle()
    assert not Job.objects.exists()
    bench.press("r")
    expect(bench.toasts).to_contain_text("The model is trained as soon as they are ready.")
    expect(page.locator("#badge")).to_contain_text("model 1")
    assert ModelVersion.objects.get().n_labels == 6
    kinds = set(Job.objects.values_list("kind", flat=True))
    assert {"embed", "retrain"} <= kinds
