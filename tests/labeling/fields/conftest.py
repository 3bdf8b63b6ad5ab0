"""Datasets whose files have headers, and the fields that are read from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoshina.jobs.lifecycle import claim, execute, run_now
from hoshina.jobs.models import Job
from labeling.fields import column_of
from labeling.fields.item_values import texts_of
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset, Field
from tests.factories import not_none


@pytest.fixture
def dataset(store: Path, folder: Path, settings: Any) -> Dataset:
    settings.EMBEDDING_BACKEND = "hog"
    dataset = dataset_for(folder, None)
    ingest(dataset)
    return dataset


def ingest(dataset: Dataset, **params: str) -> None:
    run_now("ingest", dataset_id=dataset.pk, params=params)
    dataset.refresh_from_db()


def read(dataset: Dataset, *names: str) -> dict[str, Any]:
    return dict(run_now("read_cards", dataset_id=dataset.pk, params={"cards": list(names)}).result)


def texts(dataset: Dataset, name: str) -> list[str]:
    return list(texts_of(column_of(Field.objects.get(dataset=dataset, name=name)), np.arange(dataset.n_items)))


def run_queued(kind: str) -> Job:
    """Run the job of a kind that waits, as a worker does."""
    job = not_none(claim(Job.objects.get(kind=kind, state=Job.State.QUEUED).pk))
    execute(job)
    return job
